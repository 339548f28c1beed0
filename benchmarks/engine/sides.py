"""The sides of a comparison: whose way, with which settings, in which environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import run

BUNDLES = ("spine", "lung_ct")
NOTHING_SKIPPED = {"locate": False, "skip_air": False}
# stock masks are not cleaned of small pieces either, and lie on a grid of 1.5 mm
OURS = {
    "exact": {"precision": "exact", **NOTHING_SKIPPED},
    "fast": {"precision": "fast", **NOTHING_SKIPPED},
    "fast, air skipped": {"precision": "fast", "locate": False, "skip_air": True},
    "fast, located": {"precision": "fast", "locate": True, "skip_air": True},
}
STOCK_SHAPE = {"spine": {"roi_size": [96, 96, 96]}, "lung_ct": {"image_size": 256}}


@dataclass(frozen=True)
class Side:
    """One way from an image to its mask.

    Attributes:
        name: what it is called in the result.
        worker: script of this folder that does it.
        order: what the script is told, image and output aside.
        python: interpreter that runs it.
        home: folder that stands for the user's home, so that what is cached there belongs to this side alone.
    """

    name: str
    worker: str
    order: Mapping[str, Any]
    python: Path = Path(sys.executable)
    home: Path | None = None
    ours: bool = field(default=False)

    def segment(self, image: Path, mask: Path, limits: Mapping[str, Any]) -> dict[str, Any]:
        """Segments `image` in a fresh process, its mask to `mask`."""
        environment = {"HOME": str(self.home)} if self.home else {}
        with tempfile.TemporaryDirectory() as folder:
            order = {**self.order, "image": str(image.resolve()), "output": str(Path(folder) / "out")}
            answer = run(self.worker, order, python=self.python, environment=environment, **limits)
            if "mask" in answer:
                shutil.move(answer.pop("mask"), mask)
        return answer

    def forget(self) -> None:
        """Empties the cache of converted networks; fonts, which matplotlib looks up once in a home, are kept."""
        if self.home is None:
            return
        shutil.rmtree(self.home / ".cache" / "radseg", ignore_errors=True)
        self.home.mkdir(parents=True, exist_ok=True)
        look_up = [sys.executable, "-c", "import matplotlib.font_manager"]
        subprocess.run(look_up, env={"HOME": str(self.home)}, check=True)


def sides_of(bundle: str, weights: str, cache: Path, stock_batch: int, nnunet_python: Path | None) -> list[Side]:
    """Stock MONAI first, then nnU-Net if its environment is named and it can do the job, then radseg's ways."""
    common = {"bundle": bundle, "weights": weights}
    # the same work for all
    same: dict[str, object] = {"minimum_volume_mm3": 0.0}
    if bundle == "spine":
        same |= {
            "minimum_share": 0.0,
            "stray_share": 0.0,
            "beside_mm": 0.0,
            "guided_mm": 0.0,
            "spacing_mm": [1.5, 1.5, 1.5],
        }  # as in stock.py and nnunet.py
    stock = {**common, **STOCK_SHAPE[bundle], "batch": stock_batch}
    sides = [Side("stock", "stock.py", stock)]
    if nnunet_python is not None and bundle == "spine":
        sides.append(Side("nnU-Net", "nnunet.py", {**common, **STOCK_SHAPE[bundle]}, nnunet_python))
    for name, settings in OURS.items():
        order = {**common, "overrides": {**settings, **same}}
        home = cache / "homes" / f"{bundle}-{name.replace(', ', '-').replace(' ', '-')}"
        sides.append(Side(name, "ours.py", order, home=home.resolve(), ours=True))
    return sides
