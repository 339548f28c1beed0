"""How seconds and memory grow with the number of slices, on CTs that are made for it (`tall.py`): simulated."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agreement import agreement
from sides import Side
from tall import tall_ct

GROWN = ("stock", "fast", "fast, located")
KEPT = ("process_seconds", "job_seconds", "peak_mb", "stages", "did_not_fit")


def grow(
    sides: Sequence[Side],
    source: Path,
    slices: Sequence[int],
    folder: Path,
    limits: Mapping[str, Any],
    names: Sequence[str] = GROWN,
) -> dict[str, Any]:
    """For each number of slices, a single run of each named side; one that didn't fit isn't tried on more."""
    result: dict[str, Any] = {"image": "simulated: chest_ct in slices of 1 mm, mirrored at its ends", "slices": {}}
    trying = [side for side in sides if side.name in names]
    for count in sorted(slices):
        image = tall_ct(source, count, folder)
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as masks:
            for side in trying:
                mask = Path(masks) / f"{side.name}.nii.gz"
                answer = side.segment(image, mask, limits)
                found[side.name] = {key: answer[key] for key in KEPT if key in answer}
                if "job_seconds" in answer:
                    found[side.name]["seconds_per_slice"] = round(answer["job_seconds"] / count, 4)
                stock = Path(masks) / "stock.nii.gz"
                if mask.is_file() and stock.is_file():
                    found[side.name]["agreement_with_stock"] = agreement(mask, stock)
                sys.stderr.write(f"{side.order['bundle']}, {count} slices, {side.name}: {found[side.name]}\n")
        trying = [side for side in trying if "did_not_fit" not in found[side.name]]
        result["slices"][str(count)] = found
    return result
