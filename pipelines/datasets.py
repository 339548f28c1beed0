"""The verbs `data sample` and `data check`: make data to try things on; look a dataset over before training on it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from radseg.pipelines.console import bars_shown, console
from radseg.pipelines.datalist import SPLITS, read_splits
from radseg.pipelines.errors import InputError, one_line
from radseg.pipelines.io import load_pair
from radseg.pipelines.io.store.local_copy import with_urls
from radseg.pipelines.io.store.url import child
from radseg.pipelines.progress_lines import told
from radseg.pipelines.weights import sha256_of
from radseg.sample_data.make import CASE_NAMES, make

MOST_NAMED = 5


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


def sample(output: str | Path, *, progress: bool = True) -> Path:
    """Makes the synthetic sample data in `output`; `progress` shows a bar.

    Raises:
        InputError: there is something at `output` that isn't an empty folder, or it can't be written.
    """
    folder = Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: isn't an empty folder; choose another with --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Progress(console=console(), transient=True, disable=not bars_shown(progress)) as bar:
            task = bar.add_task("making sample data", total=len(CASE_NAMES))
            make(folder, report=lambda _: bar.advance(task))
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror}); choose another with --output") from error
    return folder


def check(dataset_dir: str | Path, datalist: str | Path | None = None, *, progress: bool = True) -> Report:
    """Looks through a dataset: unreadable files, sizes and grids that differ, empty masks, leaks between splits.

    Args:
        dataset_dir: folder that the datalist's paths start from.
        datalist: JSON file; `dataset_dir/datalist.json` when not given.
        progress: show a bar; where there is no terminal, a line once it takes more than two seconds.

    Raises:
        InputError: the datalist can't be read or names a file that isn't there.
    """
    file = datalist if datalist is not None else child(dataset_dir, "datalist.json")
    report = Report()
    splits = read_splits(file, dataset_dir)
    report.items = {split: len(items) for split, items in splits.items()}
    everything = [(split, item) for split, items in splits.items() for item in items]
    if not everything:
        raise InputError(f"{file}: holds no item in {', '.join(SPLITS)}")
    if any(item.get("simulated") for _, item in everything):
        report.notes.append("the images are simulated: so is any result on them")
    images: dict[str, list[tuple[str, str]]] = defaultdict(list)
    patients: dict[str, set[str]] = defaultdict(set)
    folds: dict[str, set[int]] = defaultdict(set)
    found: list[tuple[str, set[int]]] = []
    for split, item in told(everything, "checking", progress):
        if "patient" in item:
            patients[str(item["patient"])].add(split)
            if "fold" in item and split != "test":
                folds[str(item["patient"])].add(int(item["fold"]))
        if Path(item["image"]).is_file():
            images[sha256_of(item["image"])].append((split, item["image"]))
        _look_at(item, report, found)
    for value in sorted(set().union(*(values for _, values in found))):
        report.label_values[value] = sum(value in values for _, values in found)
    report.notes += _rarely_missing(report.label_values, found)
    for copies in images.values():
        if len(copies) > 1:
            where = ", ".join(f"{Path(path).name} ({split})" for split, path in copies)
            across = len({split for split, _ in copies}) > 1
            (report.problems if across else report.notes).append(f"the same image stands there several times: {where}")
    for patient, sides in sorted(patients.items()):
        if len(sides) > 1:
            report.problems.append(f"patient {patient} is in {' and '.join(sorted(sides))}: a result would be a leak")
    for patient, numbers in sorted(folds.items()):
        if len(numbers) > 1:
            several = " and ".join(str(number) for number in sorted(numbers))
            report.problems.append(f"patient {patient} is in folds {several}: a cross-validation would be a leak")
    if not patients:
        report.notes.append("no item names its patient, so a leak between splits can't be seen")
    report.problems = [with_urls(problem) for problem in report.problems]
    report.notes = [with_urls(note) for note in report.notes]
    return report


def _look_at(item: Mapping[str, Any], report: Report, found: list[tuple[str, set[int]]]) -> None:
    """Notes what is wrong with an item, and adds the values of its label to those found."""
    if "label" not in item:
        report.notes.append(f"{item['image']}: has no label")
        return
    try:
        _, label = load_pair(item["image"], item["label"])
    except Exception as error:
        report.problems.append(one_line(error))
        return
    values = {int(value) for value in np.unique(label.array)}
    if not values - {0}:
        report.notes.append(f"{item['label']}: is empty")
    found.append((str(item["label"]), values))


def _rarely_missing(counts: Mapping[int, int], found: Sequence[tuple[str, set[int]]]) -> list[str]:
    """A note on each value that at least nine of ten masks have: where it is missing, it may have been forgotten."""
    notes = []
    for value, count in counts.items():
        without = sorted({Path(label).name for label, values in found if value not in values and values - {0}})
        if value and without and count >= 0.9 * len(found):
            some = ", ".join(without[:MOST_NAMED]) + (", …" if len(without) > MOST_NAMED else "")
            notes.append(f"label {value} is in {count} of {len(found)} masks but not in {some}: look at them")
    return notes
