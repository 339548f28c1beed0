"""Time of a radiograph of a chest CT against PyPI's diffdrr 0.6.1 on the same rays, and how far both agree.

diffdrr needs its own environment; only its Siddon renderer runs, so that it needs no more than torch:

    python3 -m venv DIFFDRR
    DIFFDRR/bin/pip install -c constraints.txt torch==2.13.0 numpy
    DIFFDRR/bin/pip install --no-deps diffdrr==0.6.1
    python benchmarks/drr.py --ct ../shared/data/chest_ct/ct.nii.gz --diffdrr-python DIFFDRR/bin/python

Both get the same voxels and the same rays, in processes of the same number of threads, taking turns; only the
rendering is timed, inside each process, after a small run to warm up. diffdrr holds some 20 numbers for each of the
1,160 planes that a ray may cross, so it renders the image in parts; of the sizes tried, its fastest counts.

"siddon" solves the same problem as diffdrr's Siddon, exactly, and must agree within 1 %; "joseph" interpolates between
voxels, so single rays along sharp edges differ by the nature of the model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "drr.json"
PARTS = (256, 512, 1024, 4096)
IN_BODY = 0.05  # ∫μ dl of a ray that crosses the body; less is some 2.5 mm of water


def main() -> None:
    """Runs the comparison, or with --worker one side of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", type=Path, help="NIfTI file of a CT in HU")
    parser.add_argument("--diffdrr-python", type=Path, help="python of the environment that has diffdrr")
    parser.add_argument("--size", type=int, default=512, help="rows and columns of the detector")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--worker", choices=("joseph", "siddon", "diffdrr"), help=argparse.SUPPRESS)
    parser.add_argument("--scene", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        torch.set_num_threads(chosen.threads)
        _work(chosen.worker, chosen.scene, chosen.part)
    elif chosen.ct is None or chosen.diffdrr_python is None:
        parser.error("--ct and --diffdrr-python are needed")
    else:
        _compare(chosen)


def _compare(chosen: argparse.Namespace) -> None:
    import nibabel as nib

    from radseg.transforms.radiography.attenuation import attenuation_per_mm
    from radseg.transforms.radiography.cone_beam import ConeBeam

    image = nib.load(chosen.ct)
    per_mm = attenuation_per_mm(torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32)))
    middle = image.affine @ [*(np.array(image.shape) - 1) / 2, 1]
    beam = ConeBeam(1800, 1600, tuple(middle[:3]), chosen.size, chosen.size, 410 / chosen.size, "PA", 2.0, -3.0, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.npz"
        to_voxels = np.linalg.inv(image.affine)
        pixels, source = beam.pixel_centres_ras().numpy(), beam.source_ras.numpy()
        np.savez(
            scene,
            per_mm=per_mm.numpy(),
            affine=image.affine,
            centre=middle[:3],
            size=chosen.size,
            source=to_voxels[:3, :3] @ source + to_voxels[:3, 3],
            pixels=pixels.reshape(-1, 3) @ to_voxels[:3, :3].T + to_voxels[:3, 3],
            length_mm=np.linalg.norm(pixels - source, axis=-1).ravel(),
        )

        def run(worker: str, part: int = 0) -> dict[str, Any]:
            python = chosen.diffdrr_python if worker == "diffdrr" else sys.executable
            command = [str(python), __file__, "--worker", worker, "--scene", str(scene)]
            command += ["--threads", str(chosen.threads), "--part", str(part)]
            threads = {name: str(chosen.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **threads})
            return {**json.loads(done.stdout), "integral": np.load(f"{scene}.{worker}.npy")}

        trial = {part: run("diffdrr", -part)["seconds"] for part in PARTS}
        part = min(trial, key=lambda tried: trial[tried])
        runs: dict[str, list[dict[str, Any]]] = {"joseph": [], "siddon": [], "diffdrr": []}
        for _ in range(chosen.repeats):
            for worker, done in runs.items():
                done.append(run(worker, part))
    medians = {worker: statistics.median(one["seconds"] for one in done) for worker, done in runs.items()}
    theirs = runs["diffdrr"][0]["integral"]
    result = {
        "what": f"∫μ dl of a CT {'×'.join(map(str, image.shape))} on {chosen.size}×{chosen.size} pixels, float32, CPU",
        "date": date.today().isoformat(),
        "commit": _commit(),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "threads_used": chosen.threads},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffdrr": runs["diffdrr"][0]["version"],
            "torch_of_diffdrr": runs["diffdrr"][0]["torch"],
        },
        "seconds": {worker: [round(one["seconds"], 3) for one in done] for worker, done in runs.items()},
        "median_seconds": {worker: round(median, 3) for worker, median in medians.items()},
        "diffdrr_rays_at_once": part,
        "times_faster_than_diffdrr": {
            worker: round(medians["diffdrr"] / medians[worker], 1) for worker in ("joseph", "siddon")
        },
        "difference_from_diffdrr": {
            worker: _difference(runs[worker][0]["integral"], theirs) for worker in ("joseph", "siddon")
        },
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(chosen.output.read_text())


def _difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Relative difference on the rays that cross the body, after the scaling that fits best."""
    crosses = theirs > IN_BODY
    scale = float((ours[crosses] @ theirs[crosses]) / (ours[crosses] @ ours[crosses]))
    relative = np.abs(scale * ours[crosses] - theirs[crosses]) / theirs[crosses]
    return {
        "scale": round(scale, 6),
        "rays": int(crosses.sum()),
        "mean": float(f"{relative.mean():.3g}"),
        "percentile_99": float(f"{np.percentile(relative, 99):.3g}"),
        "max": float(f"{relative.max():.3g}"),
        "max_of_brightest": float(f"{(np.abs(scale * ours - theirs).max() / theirs.max()):.3g}"),
    }


def _work(worker: str, scene_file: Path, part: int) -> None:
    scene = dict(np.load(scene_file))
    answer: dict[str, Any] = {"torch": torch.__version__}
    render: Callable[[int], np.ndarray]
    if worker == "diffdrr":
        import diffdrr
        from diffdrr.renderers import Siddon

        answer["version"] = diffdrr.__version__
        volume = torch.from_numpy(np.ascontiguousarray(scene["per_mm"]))
        source = torch.from_numpy(scene["source"]).float().reshape(1, 1, 3)
        pixels = torch.from_numpy(scene["pixels"]).float()[None]
        length_mm = torch.from_numpy(scene["length_mm"]).float()[None, None]
        siddon, every = Siddon(), abs(part)

        def render(rays: int) -> np.ndarray:
            parts = []
            with torch.no_grad():
                for first in range(0, rays, every):
                    some = slice(first, min(first + every, rays))
                    parts.append(siddon(volume, source, pixels[:, some], length_mm[..., some]).reshape(-1))
            return torch.cat(parts).numpy()

        everything = pixels.shape[1]
        if part < 0:  # a trial of the size: a middle strip of the image
            pixels = pixels[:, everything // 2 :]
            length_mm = length_mm[..., everything // 2 :]
            everything = 4 * max(PARTS)
    else:
        from radseg.transforms.radiography.cone_beam import ConeBeam
        from radseg.transforms.radiography.line_integrals import line_integrals

        size = int(scene["size"])
        volume = torch.from_numpy(scene["per_mm"])

        def render(rays: int) -> np.ndarray:
            side = min(size, rays)
            beam = ConeBeam(1800, 1600, tuple(scene["centre"]), side, side, 410 / side, "PA", 2.0, -3.0, 1.0)
            return line_integrals(volume, scene["affine"], beam, method=worker).reshape(-1).numpy()

        everything = size * size
    render(16)
    start = time.perf_counter()
    integral = render(everything)
    answer["seconds"] = time.perf_counter() - start
    np.save(f"{scene_file}.{worker}.npy", integral)
    sys.stdout.write(json.dumps(answer))


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
