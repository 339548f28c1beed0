"""A small bundle with a plan of its own, and datasets of one-pixel pictures for what never opens an image."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import radseg.bundles

PLAN = {
    "ablate": {
        "baseline": "full",
        "variants": {
            "full": {},
            "no CLAHE": {"clahe_clip_limit": 0.0},
            "slower": {"learning_rate": 0.0001},
        },
        "paper": {"source": "A paper, Table 1", "on": "its images", "variants": {"full": {"dice": 0.9}}},
    },
    "cross_validate": {"paper": {"source": "A paper, Table 2", "on": "its images", "folds": [{"dice": 0.8}]}},
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A bundle folder like lung_xray, with the plan above."""
    folder = tmp_path / "toy"
    shutil.copytree(radseg.bundles.root("lung_xray"), folder, ignore=shutil.ignore_patterns("models"))
    for config in ("train", "evaluate"):
        content = json.loads((folder / f"{config}.json").read_text())
        content |= {"bundle_root": str(folder)}
        (folder / f"{config}.json").write_text(json.dumps(content))
    (folder / "experiments.json").write_text(json.dumps(PLAN))
    return folder


@pytest.fixture
def new_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes a dataset of pictures of one pixel: items by split, each a patient or a dictionary."""

    def new(name: str = "data", /, head: dict[str, Any] | None = None, **splits: list[Any]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        content: dict[str, Any] = dict(head or {})
        number = 0
        for split, items in splits.items():
            content[split] = []
            for item in items:
                image = f"image{number:03d}.png"
                number += 1
                Image.new("L", (1, 1), number).save(folder / image)
                Image.new("L", (1, 1)).save(folder / f"mask_{image}")
                fields = item if isinstance(item, dict) else {"patient": item}
                content[split].append({"image": image, "label": f"mask_{image}", **fields})
        (folder / "datalist.json").write_text(json.dumps(content))
        return folder

    return new
