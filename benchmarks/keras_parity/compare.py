"""Compare `EncoderUNet` with what `make_keras.py` recorded in float64, and write the largest differences as JSON.

The encoder's weights come in through `load_encoder`, as a user's would; those of the decoder by their Keras names.
"""

import json
import platform
import re
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radseg.networks.encoder_unet import EncoderUNet
from radseg.networks.encoders import ENCODERS
from radseg.pipelines.encoder_weights import load_encoder
from radseg.transforms.encoder_input import NormaliseForEncoder

# of the largest value: what rounding leaves of a hundred layers that add up in another order
TOLERANCE = {"float64": 1e-12, "float32": 1e-4}
LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def decoder_name(keras: str) -> str:
    """Our name of a decoder tensor such as decoder_stage0a_conv/kernel."""
    layer, role = keras.split("/")
    if layer == "final_conv":
        return f"head.{LEAVES[role]}"
    if centre := re.fullmatch(r"center_block(\d)_(conv|bn)", layer):
        return f"center.{centre[2]}{centre[1]}.{LEAVES[role]}"
    stage = re.fullmatch(r"decoder_stage(\d)([ab])_(conv|bn)", layer)
    if stage is None:
        raise ValueError(f"{layer} is no layer of the decoder")
    return f"decoder.stage{int(stage[1]) + 1}.{stage[3]}{1 if stage[2] == 'a' else 2}.{LEAVES[role]}"


def load_decoder(network: EncoderUNet, record: Any) -> None:
    """Fill everything but the encoder; every tensor is to be there."""
    state: dict[str, torch.Tensor] = {}
    for name in record.files:
        if name.startswith("weight/"):
            values = record[name]
            values = values.transpose(3, 2, 0, 1) if values.ndim == 4 else values
            state[decoder_name(name.removeprefix("weight/"))] = torch.from_numpy(np.ascontiguousarray(values))
    missing, unexpected = network.load_state_dict(state, strict=False)
    left = [name for name in missing if not name.startswith("encoder.") and not name.endswith("num_batches_tracked")]
    if left or unexpected:
        raise ValueError(f"decoder tensors don't match: missing {left}, unexpected {unexpected}")


def difference(ours: dict[str, torch.Tensor], keras_bhwc: np.ndarray) -> dict[str, float]:
    """Largest absolute difference by precision, and the largest and root-mean-square value to measure it by."""
    theirs = torch.from_numpy(keras_bhwc).permute(0, 3, 1, 2)
    return {
        **{name: float(f"{(mine.double() - theirs).abs().max().item():.3g}") for name, mine in ours.items()},
        "largest_value": round(theirs.abs().max().item(), 3),
        "rms_value": round(theirs.square().mean().sqrt().item(), 3),
    }


@torch.inference_mode()
def compare(encoder: str, folder: Path) -> dict[str, Any]:
    """Everything there is to say about one encoder."""
    record = np.load(folder / f"{encoder}.npz")
    facts = json.loads(str(record["facts"]))
    network = load_encoder(EncoderUNet(encoder), folder / f"{encoder}_notop.h5")
    load_decoder(network, record)
    networks = {"float64": deepcopy(network).double().eval(), "float32": network.eval()}
    sizes: dict[str, dict[str, dict[str, float]]] = {}
    for name in sorted(record.files):
        if name.startswith("input"):
            image = torch.from_numpy(record[name]).permute(0, 3, 1, 2)
            outputs: dict[str, dict[str, torch.Tensor]] = {tap: {} for tap in [*facts["taps"], "logits"]}
            for precision, each in networks.items():
                x = image.to(next(each.parameters()).dtype)
                for tap, values in zip(outputs, [*each.encoder(x), each(x)], strict=True):
                    outputs[tap][precision] = values
            sizes["×".join(map(str, image.shape[2:]))] = {
                tap: difference(ours, record[f"{name.replace('input', 'output')}/{tap}"])
                for tap, ours in outputs.items()
            }
    grey = torch.arange(256.0).reshape(1, 16, 16)
    norms = Counter(
        f"eps {module.eps:.6g}, torch momentum {module.momentum:.3g}"
        for module in network.modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    )
    ramp = torch.from_numpy(record["normalised_ramp"]).permute(2, 0, 1)
    buffers = [value for name, value in network.named_buffers() if not name.endswith("num_batches_tracked")]
    trainable = sum(value.numel() for value in network.parameters())
    return {
        "total": {"keras": facts["total"], "radseg": trainable + sum(value.numel() for value in buffers)},
        "trainable": {"keras": facts["trainable"], "radseg": trainable},
        "batch_norms": {"keras": facts["batch_norms"], "radseg": dict(sorted(norms.items()))},
        "normalisation_largest_difference": float(f"{(NormaliseForEncoder(encoder)(grey) - ramp).abs().max():.3g}"),
        "sizes": sizes,
        "keras_packages": facts["packages"],
    }


def is_equal(result: dict[str, Any]) -> bool:
    """Whether counts and batch norms agree to the unit and outputs to the tolerance."""
    return (
        all(result[fact]["keras"] == result[fact]["radseg"] for fact in ("total", "trainable", "batch_norms"))
        and result["normalisation_largest_difference"] < 1e-4  # of values up to 255, in float32
        and all(
            tap[precision] < tolerance * tap["largest_value"]
            for taps in result["sizes"].values()
            for tap in taps.values()
            for precision, tolerance in TOLERANCE.items()
        )
    )


def commit() -> str:
    """The commit that is checked out, and whether code has changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", "../../networks", "../../pipelines", "../../transforms")
    return git("rev-parse", "HEAD") + (" and changes not committed" if changed else "")


def cpu_name() -> str:
    """The processor as the system names it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.is_file() else []
    return names[0] if names else platform.processor()


def main() -> None:
    """Compare the encoders recorded in a folder and write the results to a file."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python compare.py FOLDER RESULT.json")
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    encoders = {name: compare(name, folder) for name in ENCODERS if (folder / f"{name}.npz").is_file()}
    packages = {json.dumps(result.pop("keras_packages")) for result in encoders.values()}
    report = {
        "commit": commit(),
        "machine": f"{cpu_name()}, {platform.system()} {platform.machine()}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "keras_versions": [json.loads(each) for each in sorted(packages)],
        "what": "largest absolute difference of radseg in float64 and float32 from Keras in float64",
        "tolerance_of_the_largest_value": TOLERANCE,
        "equal": {name: is_equal(result) for name, result in encoders.items()},
        "encoders": encoders,
    }
    out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    for name, result in encoders.items():
        worst = {
            precision: max(
                tap[precision] / tap["largest_value"] for taps in result["sizes"].values() for tap in taps.values()
            )
            for precision in TOLERANCE
        }
        sys.stdout.write(
            f"{name:15s} {'equal' if report['equal'][name] else 'DIFFERENT'}: relative difference of the worst tap "
            f"{worst['float64']:.1e} in float64, {worst['float32']:.1e} in float32\n"
        )
    if not all(report["equal"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
