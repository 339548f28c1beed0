"""How long a CT's page takes to open in headless Chromium, until image and mask are drawn in three planes; then 3D.

    python benchmarks/page_opening.py --data ../shared/data

The page is that of a real chest CT of 512×512×133 with its vertebrae as the mask. Each time it is opened in a browser
just started, with an empty profile; what counts is the time from the address to the first frame after the viewer says
it is ready: the planes. Those need no WebGL. 3D does; where that is computed on the CPU, as here, 3D is drawn only when
asked for, so it is timed on its own, from asking to the first frame with it. A graphics card does that faster.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "benchmarks" / "engine")]

from browser import Browser  # noqa: E402
from page_factory import write_page  # noqa: E402
from provenance import machine  # noqa: E402

from radseg.pipelines.io import Volume, load_volume  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
RESULT = ROOT / "benchmarks" / "results" / "page_opening.json"
VERTEBRAE = (26, 50)  # ids of S1 to C1 in chest_ct/structures.csv
AIM_S = 5.0


def main() -> None:
    """Writes the page, opens it several times and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of chest_ct")
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    image = chosen.data / "chest_ct" / "ct.nii.gz"
    with tempfile.TemporaryDirectory() as folder:
        page = page_of(image, Path(folder))
        planes, solid = zip(*(seconds_to_open(page) for _ in range(chosen.times)), strict=True)
        result = {
            "what": "the page of a CT of 512×512×133 opened in headless Chromium: planes; then 3D, WebGL on the CPU",
            **machine(os.cpu_count() or 1),
            "page_mb": round(page.stat().st_size / 1e6, 1),
            "seconds": spread(planes),
            "seconds_3d_once_asked": spread(solid),
            "aim_s": AIM_S,
        }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"{result['page_mb']} MB; seconds: {result['seconds']}, 3D {result['seconds_3d_once_asked']}\n")


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Least, median and most."""
    return {"least": min(seconds), "median": sorted(seconds)[len(seconds) // 2], "most": max(seconds)}


def page_of(image: Path, folder: Path) -> Path:
    """The page of a CT, with its vertebrae as the mask."""
    read = load_volume(image)
    ids = np.asarray(nib.load(image.parent / "structures.nii.gz").dataobj)
    mask = ((ids >= VERTEBRAE[0]) & (ids <= VERTEBRAE[1])).astype(np.uint8)
    return write_page(folder, Volume(np.asarray(read.array), read.affine_ras, "HU"), mask, ["vertebra"])


def seconds_to_open(page_file: Path) -> tuple[float, float]:
    """Seconds from the address to the first frame of a ready viewer, and from asking for 3D to the first with that."""
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder) / "profile") as browser:
        page = browser.page()
        began = time.perf_counter()
        page.open(page_file.as_uri())
        page.wait_for("document.documentElement.dataset.state !== 'opening'")
        page.frame()
        taken = time.perf_counter() - began
        state = page.run("document.documentElement.dataset.state")
        if state != "ready":
            sys.exit(f"{page_file}: the page ended as {state}; it is no page of a case, or Chromium has no WebGL")
        asked = time.perf_counter()
        page.run("view.solid.open()")
        page.wait_for("view.solid.told.hidden || !view.solid.can")
        page.frame()
        taken_3d = time.perf_counter() - asked
        if not page.run("view.solid.told.hidden"):
            sys.exit(f"{page_file}: {page.text('.told')}")
        return round(taken, 2), round(taken_3d, 2)


if __name__ == "__main__":
    main()
