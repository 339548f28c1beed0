"""The verb `data merge`: several datalists become one, such as real images with simulated ones for training only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radseg.pipelines.datalist import SPLITS, read_splits
from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.output_folder import earlier_import, relative_to, written_whole


@dataclass(frozen=True)
class Merged:
    """What `merge_datasets` wrote.

    Attributes:
        datalist: the file.
        images: number of images in each split.
        always_train: how many of them are in training in every fold.
    """

    datalist: Path
    images: Mapping[str, int]
    always_train: int


def merge_datasets(
    sources: Sequence[Path],
    output: Path,
    *,
    train_only: Sequence[Path] = (),
    overwrite: bool = False,
) -> Merged:
    """Writes `output/datalist.json` with the items of several datasets, whose images stay where they are.

    Items of `sources` keep their split and fold. Patients get their dataset's name before theirs, since two datasets'
    patient 1 are two people.

    Args:
        sources: dataset folders, each with a `datalist.json`.
        output: folder of the result.
        train_only: dataset folders whose items, of all splits, are in training in every fold (`"always_train": true`).
        overwrite: replaces what an earlier import or merge wrote to `output`.

    Raises:
        InputError: no or two equally named datasets, one that can't be read, none with an item that isn't for training
            only, or `output` can't be written or has a datalist.
    """
    folders = [*sources, *train_only]
    names = [folder.resolve().name for folder in folders]
    if len(folders) < 2:
        raise InputError("a merge needs at least two datasets; name their folders")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two datasets are called {name}, so their patients would mix; rename one of the folders")
    earlier = earlier_import(output, overwrite)
    merged: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for folder, name in zip(folders, names, strict=True):
        helps = folder in train_only
        for split, items in read_splits(folder / "datalist.json", folder).items():
            merged["training" if helps else split] += [_entry(item, name, output, helps) for item in items]
    always_train = sum(item.get("always_train", False) for items in merged.values() for item in items)
    if always_train == sum(len(items) for items in merged.values()):
        raise InputError("every dataset is for training only; name one that isn't, to validate on")
    with written_whole(output, earlier) as part:
        content = {"name": output.resolve().name, "merged": names, "written": [], **merged}
        (part / "datalist.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Merged(output / "datalist.json", {split: len(items) for split, items in merged.items()}, always_train)


def _entry(item: Mapping[str, Any], dataset: str, output: Path, always_train: bool) -> dict[str, Any]:
    """An item as it stands in the merged datalist."""
    entry = dict(item)
    for key in ("image", "label"):
        if key in entry:
            entry[key] = relative_to(output, Path(entry[key]))
    if "patient" in entry:
        entry["patient"] = f"{dataset}/{entry['patient']}"
    if always_train:
        entry.pop("fold", None)
        entry["always_train"] = True
    return entry
