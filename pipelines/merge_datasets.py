"""The verb `data merge`: several datalists become one, such as real images with simulated ones for training only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radseg.pipelines.datalist import SPLITS, read_splits
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.image_case import KIND_BY_SUFFIX, InputKind
from radseg.pipelines.layouts.output_folder import earlier_import, relative_to, written_whole

_UNNAMED = "labelled"
"""What `radseg data drr` calls the values that it was told to take, whatever they mean."""


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
    mixed: bool = False,
    overwrite: bool = False,
) -> Merged:
    """Writes `output/datalist.json` with the items of several datasets, whose images stay where they are.

    Items of `sources` keep their split and fold. Patients get their dataset's name before theirs, since two datasets'
    patient 1 are two people.

    Args:
        sources: dataset folders, each with a `datalist.json`.
        output: folder of the result.
        train_only: dataset folders whose items, of all splits, are in training in every fold (`"always_train": true`).
        mixed: merges datasets whose labels have other names, or of which some hold volumes and others pictures.
        overwrite: replaces what an earlier import or merge wrote to `output`.

    Raises:
        InputError: no or two equally named datasets, one that can't be read, some that don't go together, none with an
            item that isn't for training only, or `output` can't be written or has a datalist.
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
    splits = {folder: read_splits(folder / "datalist.json", folder) for folder in folders}
    labels = {folder: _labels(folder / "datalist.json") for folder in folders}
    if not mixed:
        _refuse_mixed(labels, {folder: _kinds(of_folder) for folder, of_folder in splits.items()})
    for folder, name in zip(folders, names, strict=True):
        helps = folder in train_only
        for split, items in splits[folder].items():
            merged["training" if helps else split] += [_entry(item, name, output, helps) for item in items]
    always_train = sum(item.get("always_train", False) for items in merged.values() for item in items)
    if always_train == sum(len(items) for items in merged.values()):
        raise InputError("every dataset is for training only; name one that isn't, to validate on")
    with written_whole(output, earlier) as part:
        known = next((named for named in labels.values() if _meant(named)), next(filter(None, labels.values()), {}))
        of_labels = {"labels": known} if known and not mixed else {}
        content = {"name": output.resolve().name, **of_labels, "merged": names, "written": [], **merged}
        (part / "datalist.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Merged(output / "datalist.json", {split: len(items) for split, items in merged.items()}, always_train)


def _labels(datalist: Path) -> dict[str, str]:
    """What the values of a dataset's masks mean, as its datalist says; empty where it doesn't."""
    labels = json.loads(datalist.read_text(encoding="utf-8")).get("labels")
    return {str(value): str(name) for value, name in labels.items()} if isinstance(labels, dict) else {}


def _kinds(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[str]:
    """What a dataset's images are, as far as their names tell."""
    files = (Path(item["image"]) for items in splits.values() for item in items)
    pictures = {KIND_BY_SUFFIX.get(file.suffix.lower()) in (InputKind.PNG, InputKind.JPEG) for file in files}
    return {"pictures" if picture else "volumes or DICOM" for picture in pictures}


def _refuse_mixed(labels: Mapping[Path, Mapping[str, str]], kinds: Mapping[Path, set[str]]) -> None:
    """Refuse datasets of different organs: one network can't learn a value that means a lung here and a pelvis there.

    Raises:
        InputError: names two datasets that differ, and how.
    """
    remedy = "merge those of one kind, or pass --mixed"
    named = {folder: _meant(one) for folder, one in labels.items() if _meant(one)}
    for folder, meant in named.items():
        first, other = next(iter(named.items()))
        if meant != other:
            said = " and ".join(
                f"{place.name}'s mean {', '.join(f'{value} {name}' for value, name in sorted(labelled.items()))}"
                for place, labelled in ((first, other), (folder, meant))
            )
            raise InputError(f"{folder}: labels differ, {said}; {remedy}")
    first, held = next(iter(kinds.items()))
    for folder, here in kinds.items():
        if here and held and not here & held:
            what = f"holds {' and '.join(sorted(here))}, {first.name} {' and '.join(sorted(held))}"
            raise InputError(f"{folder}: {what}; {remedy}")


def _meant(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels but background and those whose name says nothing."""
    return {value: name.casefold() for value, name in labels.items() if value != "0" and name != _UNNAMED}


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
