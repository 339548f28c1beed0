"""The datalists of the sample data: which case trains, which validates and which tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

Split = Literal["training", "validation", "test"]
_SPLITS: tuple[Split, ...] = ("training", "validation", "test")
# two lung CTs train: an epoch over all slices of more at full size is too long to wait for on a laptop
_SPLIT_BY_CASE: Mapping[str, Split] = {
    "spine05": "validation",
    "spine06": "test",
    "lung03": "test",
    "lung04": "test",
    "lung05": "validation",
    "lung06": "test",
    "chest05": "validation",
    "chest06": "test",
    "pelvis08": "validation",
    "pelvis09": "test",
    "pelvis10": "test",
}


def patient_id(name: str) -> str:
    """Return the PatientID of a case: "spine01" belongs to "sample-spine-01"."""
    kind = name.rstrip("0123456789")
    return f"sample-{kind}-{name[len(kind) :]}"


def split_of(name: str) -> Split:
    """Return the split of a case."""
    return _SPLIT_BY_CASE.get(name, "training")


def datalist_text(
    title: str,
    description: str,
    labels: Mapping[int, str],
    names: Sequence[str],
    suffix: str = ".nii.gz",
    views: Sequence[str] = ("",),
) -> str:
    """Return `datalist.json` in the form of MONAI and the Medical Segmentation Decathlon.

    Args:
        title: The data set's name.
        description: What it is.
        labels: Meaning of each mask value.
        names: The cases, each of its own patient; training cases become folds 0, 1, 2 and so on in turn.
        suffix: Of the image and mask files.
        views: What is added to a case's name for each of its images.
    """
    content: dict[str, object] = {
        "name": title,
        "description": description,
        "simulated": True,
        "labels": {str(value): meaning for value, meaning in labels.items()},
    }
    for split in _SPLITS:
        items: list[dict[str, str | int]] = []
        for fold, name in enumerate(name for name in names if split_of(name) == split):
            for view in views:
                item: dict[str, str | int] = {
                    "image": f"imagesTr/{name}{view}{suffix}",
                    "label": f"labelsTr/{name}{view}{suffix}",
                    "patient": patient_id(name),
                }
                items.append(item | {"fold": fold} if split == "training" else item)
        content[split] = items
    return json.dumps(content, indent=2) + "\n"
