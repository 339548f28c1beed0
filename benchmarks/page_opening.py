"""How long a CT's page takes to open in headless Chromium, until image and mask are drawn.

    python benchmarks/page_opening.py --data ../shared/data

The page is that of a real chest CT of 512×512×133 with its vertebrae as the mask. Each time it is opened in a browser
just started, with an empty profile; what counts is the time from the address to the first frame after the viewer says
it is ready. WebGL is computed on the CPU here; a graphics card does it faster.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
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
        seconds = sorted(seconds_to_open(page) for _ in range(chosen.times))
        result = {
            "what": "the page of a CT of 512×512×133 opened in headless Chromium, WebGL on the CPU",
            **machine(os.cpu_count() or 1),
            "page_mb": round(page.stat().st_size / 1e6, 1),
            "seconds": {"least": seconds[0], "median": seconds[len(seconds) // 2], "most": seconds[-1]},
            "aim_s": AIM_S,
        }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"{result['page_mb']} MB; seconds: {result['seconds']}\n")


def page_of(image: Path, folder: Path) -> Path:
    """The page of a CT, with its vertebrae as the mask."""
    read = load_volume(image)
    ids = np.asarray(nib.load(image.parent / "structures.nii.gz").dataobj)
    mask = ((ids >= VERTEBRAE[0]) & (ids <= VERTEBRAE[1])).astype(np.uint8)
    return write_page(folder, Volume(np.asarray(read.array), read.affine_ras, "HU"), mask, ["vertebra"])


def seconds_to_open(page_file: Path) -> float:
    """Seconds from the address to the first frame of a ready viewer."""
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
        return round(taken, 2)


if __name__ == "__main__":
    main()
