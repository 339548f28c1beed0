"""Time, memory and agreement of whole segmentations against stock MONAI and nnU-Net v2, with the same weights.

    python benchmarks/engine --data ../shared/data --nnunet-python NNUNET/bin/python

Every run is a process of its own; the sides take turns; medians count. "Job" is from before the image is read to its
mask on disk, with making, loading and converting the network; "process" is with Python and the imports. Weights are
trained first if they aren't there (`trained_weights.py`, some minutes). Without `--nnunet-python` nnU-Net is left out.
How its environment is made is in README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from compare import compare
from grow import GROWN, grow
from measure import run
from provenance import memory_gb, provenance
from sides import BUNDLES, sides_of
from table import write_table

sys.path.append(str(Path(__file__).parents[1]))
from trained_weights import CACHE, DATA, weights

RESULT = Path(__file__).parents[1] / "results" / "engine_cpu.json"
WINDOWS = {"spine": [96, 96, 96], "lung_ct": [256, 256]}
SLICES = (64, 128, 256, 512, 1024)
SPARED_GB = 2.0  # of the machine's memory


def main() -> None:
    """Runs all of it and writes the result after each part, so that an interruption loses one part at most."""
    chosen = _arguments()
    image = chosen.image or chosen.data / "chest_ct" / "ct.nii.gz"
    trained = {bundle: str(weights(bundle, chosen.data, chosen.cache)) for bundle in chosen.jobs}
    limits = {"threads": chosen.threads, "most_gb": chosen.most_gb}
    result: dict[str, Any] = provenance(image, trained, chosen.threads)
    result["stock_batch"] = chosen.stock_batch

    def save() -> None:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")

    networks = {bundle: {"weights": trained[bundle], "window": WINDOWS[bundle]} for bundle in chosen.jobs}
    result["floor"] = run("floor.py", {"networks": networks}, **limits)
    result["jobs"], result["growth"] = {}, {}
    if chosen.growth_only:
        result = json.loads(chosen.output.read_text())
    for bundle in () if chosen.growth_only else chosen.jobs:
        sides = sides_of(bundle, trained[bundle], chosen.cache, chosen.stock_batch, chosen.nnunet_python)
        result["jobs"][bundle] = compare(sides, image, chosen.repeats, chosen.stock_repeats, result["floor"], limits)
        save()
    for bundle in chosen.jobs if chosen.slices else ():
        sides = sides_of(bundle, trained[bundle], chosen.cache, chosen.stock_batch, None)
        source = chosen.data / "chest_ct" / "ct.nii.gz"
        result["growth"][bundle] = grow(sides, source, chosen.slices, chosen.cache / "tall", limits, chosen.growing)
        result["growth"][bundle]["commit"] = provenance(image, trained, chosen.threads)["commit"]
        save()
    sys.stdout.write(chosen.output.read_text())
    if chosen.output == RESULT:
        write_table(result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of chest_ct, spine_ct and covid_ct")
    parser.add_argument("--image", type=Path, help="NIfTI file to segment instead of chest_ct")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where weights and made images are kept")
    parser.add_argument("--jobs", nargs="+", choices=BUNDLES, default=list(BUNDLES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stock-repeats", type=int, default=3, help="of stock MONAI and nnU-Net, which are slow")
    parser.add_argument(
        "--slices", nargs="*", type=int, default=list(SLICES), help="how cost grows; none: not measured"
    )
    parser.add_argument("--growing", nargs="+", default=list(GROWN), help="the sides whose growth is measured")
    parser.add_argument("--growth-only", action="store_true", help="add growth to the result that is there")
    parser.add_argument("--stock-batch", type=int, default=4, help="windows at a time of stock MONAI; the zoo's is 4")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    most_gb = memory_gb() - SPARED_GB
    parser.add_argument("--most-gb", type=float, default=most_gb, help="memory at which a process is ended")
    parser.add_argument("--nnunet-python", type=Path, help="python of the environment that has nnU-Net")
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
