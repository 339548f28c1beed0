"""The verbs `data sample` and `data check`: make data to try things on; look a dataset over before training on it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from radseg.pipelines.datalist import SPLITS, read_datalist
from radseg.pipelines.errors import InputError, one_line
from radseg.pipelines.io import load_pair
from radseg.pipelines.weights import sha256_of
from radseg.sample_data.make import make


@dataclass
class Report:
    """What `check` found.

    Attributes:
        items: number of items in each split.
        label_values: values that occur in the labels, and in how many images.
        problems: what makes the dataset unusable or a result on it untrustworthy, one line each.
        notes: what is worth knowing, one line each.
    """

    items: dict[str, int] = field(default_factory=dict)
    label_values: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def sample(output: str | Path) -> Path:
    """Makes the synthetic sample data in `output`.

    Raises:
        InputError: there is something at `output` that isn't an empty folder, or it can't be written.
    """
    folder = Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: isn't an empty folder; choose another with --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror}); choose another with --output") from error
    return folder


def check(dataset_dir: str | Path, datalist: str | Path | None = None, *, progress: bool = True) -> Report:
    """Looks through a dataset: unreadable files, sizes and grids that differ, empty masks, leaks between splits.

    Args:
        dataset_dir: folder that the datalist's paths start from.
        datalist: JSON file; `dataset_dir/datalist.json` when not given.
        progress: show a bar.

    Raises:
        InputError: the datalist can't be read or names a file that isn't there.
    """
    file = Path(datalist) if datalist is not None else Path(dataset_dir) / "datalist.json"
    report = Report()
    everything: list[tuple[str, Mapping[str, Any]]] = []
    for split in SPLITS:
        try:
            items = read_datalist(file, dataset_dir, split)
        except InputError as error:
            if "no item in" not in str(error):
                raise
            items = []
        report.items[split] = len(items)
        everything += [(split, item) for item in items]
    if not everything:
        raise InputError(f"{file}: holds no item in {', '.join(SPLITS)}")
    images: dict[str, list[tuple[str, str]]] = defaultdict(list)
    patients: dict[str, set[str]] = defaultdict(set)
    for split, item in track(everything, "checking", disable=not progress, transient=True):
        if "patient" in item:
            patients[str(item["patient"])].add(split)
        if Path(item["image"]).is_file():
            images[sha256_of(item["image"])].append((split, item["image"]))
        _look_at(item, report)
    for copies in images.values():
        if len(copies) > 1:
            where = ", ".join(f"{Path(path).name} ({split})" for split, path in copies)
            across = len({split for split, _ in copies}) > 1
            (report.problems if across else report.notes).append(f"the same image stands there several times: {where}")
    for patient, splits in sorted(patients.items()):
        if len(splits) > 1:
            report.problems.append(f"patient {patient} is in {' and '.join(sorted(splits))}: a result would be a leak")
    if not patients:
        report.notes.append("no item names its patient, so a leak between splits can't be seen")
    return report


def _look_at(item: Mapping[str, Any], report: Report) -> None:
    if "label" not in item:
        report.notes.append(f"{item['image']}: has no label")
        return
    try:
        _, label = load_pair(item["image"], item["label"])
    except Exception as error:
        report.problems.append(one_line(error))
        return
    values = np.unique(label.array)
    if not values.any():
        report.notes.append(f"{item['label']}: is empty")
    for value in values:
        report.label_values[int(value)] = report.label_values.get(int(value), 0) + 1
