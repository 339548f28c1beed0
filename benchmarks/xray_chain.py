"""How much the X-ray transform chain costs over the bare OpenCV calls: blur, morphological gradient twice, CLAHE.

Run it from the checkout's root: ``python benchmarks/xray_chain.py``. Both sides run in turn, round by round, so that
what else the machine does meets both alike; the ratio of their medians is what counts. It first makes sure that both
sides give the same pixels.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from radseg.transforms.clahe import CLAHEd
from radseg.transforms.gaussian_blur import GaussianBlurd
from radseg.transforms.morphological_gradient import MorphologicalGradientd

SIZE = 299  # pixels a side in the COVID-19 Radiography Database
BLUR, ELEMENT, TIMES, CLIP_LIMIT, TILES = 5, 3, 2, 2.0, (8, 8)
TARGET = 1.6
Plane = npt.NDArray[Any]


def picture() -> npt.NDArray[np.uint8]:
    """A smooth grey picture with noise, 8 bits over the full range, always the same."""
    noise = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    smooth = cv2.GaussianBlur(noise, (0, 0), 12)
    grey = smooth / smooth.std() + 0.1 * noise
    return cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def bare(plane: Plane) -> Plane:
    """The same filters as single calls on an array."""
    plane = cv2.GaussianBlur(plane, (BLUR, BLUR), 0)
    element = cv2.getStructuringElement(cv2.MORPH_RECT, (ELEMENT, ELEMENT))
    for _ in range(TIMES):
        plane = cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, element)
    if plane.dtype != np.uint8:
        plane = np.rint(plane).astype(np.uint8)
    equalised: Plane = cv2.createCLAHE(CLIP_LIMIT, TILES).apply(plane)
    return equalised


def chain(eight_bit: bool) -> Compose:
    """The same filters as a bundle's preprocessing names them."""
    return Compose(
        [
            GaussianBlurd("image", BLUR, eight_bit=eight_bit),
            MorphologicalGradientd("image", ELEMENT, TIMES),
            CLAHEd("image", CLIP_LIMIT, TILES),
        ]
    )


def alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each call in microseconds, all of them called once in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = perf_counter()
            call()
            seconds[name].append(perf_counter() - start)
    return {name: median(values) * 1e6 for name, values in seconds.items()}


def cpu_name() -> str:
    """The processor as the system names it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "xray_chain.json")
    arguments = parser.parse_args()

    grey = picture()
    loaded = torch.from_numpy(grey.astype(np.float32))[None, ..., None]
    in_8_bits, in_float = chain(eight_bit=True), chain(eight_bit=False)
    # name: chain, its image, what the bare calls work on
    sides: dict[str, tuple[Compose, MetaTensor, Plane]] = {
        "8-bit chain, float32 (1, 299, 299, 1) as loaded": (in_8_bits, MetaTensor(loaded.clone()), grey),
        "8-bit chain, float32 (1, 299, 299)": (in_8_bits, MetaTensor(loaded[..., 0].clone()), grey),
        "8-bit chain, uint8 (1, 299, 299, 1)": (in_8_bits, MetaTensor(loaded.to(torch.uint8)), grey),
        "float chain, float32 (1, 299, 299, 1) as loaded": (in_float, MetaTensor(loaded), grey.astype(np.float32)),
    }
    calls: dict[str, Callable[[], object]] = {}
    for name, (transform, image, plane) in sides.items():
        if not np.array_equal(transform({"image": image})["image"].numpy().reshape(SIZE, SIZE), bare(plane)):
            raise SystemExit(f"{name} and the bare calls give other pixels: there is nothing to compare")
        calls[f"bare {plane.dtype}"] = partial(bare, plane)
        calls[name] = partial(transform, {"image": image})
    alternate(calls, 30)
    medians = alternate(calls, arguments.rounds)
    ratios = {name: medians[name] / medians[f"bare {plane.dtype}"] for name, (_, _, plane) in sides.items()}
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    result = {
        "what": f"blur {BLUR}, gradient {ELEMENT} twice, CLAHE {CLIP_LIMIT} on {SIZE}x{SIZE}, against OpenCV's calls",
        "ratio": round(max(ratios.values()), 3),
        "target": TARGET,
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "median_microseconds": {name: round(value, 1) for name, value in medians.items()},
        "rounds": arguments.rounds,
        "cpu": cpu_name(),
        "torch_threads": torch.get_num_threads(),
        "opencv_threads": cv2.getNumThreads(),
        "opencv": cv2.__version__,
        "commit": commit.stdout.strip() or None,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in medians.items():
        sys.stdout.write(f"{value:8.0f} us  {ratios.get(name, 1.0):5.2f} x  {name}\n")
    sys.stdout.write(f"ratio {result['ratio']} (the largest), at most {TARGET} wanted\n")


if __name__ == "__main__":
    main()
