"""The verb `data import`: a data set in a published layout becomes a `datalist.json` with a seeded, recorded split."""

import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from radseg.pipelines.console import tracked
from radseg.pipelines.datalist import SPLITS
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.store.destination import made_at
from radseg.pipelines.io.store.local_copy import local_copy, urls_in_errors
from radseg.pipelines.io.store.url import child, is_remote
from radseg.pipelines.layouts import Found, Item, Layout, MadeLabel, layout_named
from radseg.pipelines.layouts.folders import listed, suffix_of
from radseg.pipelines.layouts.output_folder import earlier_import, relative_to, see_free, written_whole
from radseg.pipelines.splits import fold_groups, shares, split_groups

SPLIT_BY = ("patient", "slice", "image", "published")
LEAK = (
    "split by {unit}: images of one patient may lie on both sides ({count} patients do), a leak as in the papers; "
    "results on this split don't hold for unseen patients"
)

_DATALIST = "datalist.json"
_DETACHED = (".mhd", ".nhdr")


@dataclass(frozen=True)
class Report:
    """What `import_dataset` wrote.

    Attributes:
        datalist: the file, or its URL.
        layout: name of the layout.
        images: number of images in each split.
        patients: number of patients in each split.
        split: `patient`, `slice`, `image` or `published`.
        ratios: of the split, None when published.
        folds: number of folds, None without.
        seed: of the split.
        made: how the split was made, in one line.
        leak: the warning that goes with a split that may have a patient on both sides, else None.
        warnings: what was left out or guessed, one line each.
    """

    datalist: Path | str
    layout: str
    images: Mapping[str, int]
    patients: Mapping[str, int]
    split: str
    ratios: tuple[float, ...] | None
    folds: int | None
    seed: int
    made: str
    leak: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Placed:
    """An item with its place in the split and, once written, in the data set."""

    item: Item
    split: str
    fold: int | None
    name: str
    image: Path
    label: Path | None


def import_dataset(
    layout: str,
    source: Path | str,
    output: Path | str,
    *,
    split: str = "patient",
    ratios: Sequence[float] | str | None = None,
    folds: int | None = None,
    seed: int = 0,
    copy: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Report:
    """Writes `output/datalist.json` for the data set in `source`, so that `--dataset_dir output` trains on it.

    Images stay where they are, named relative to `output`, unless they are copied. Labels that must be made (merged
    vertebrae) are written to `output/labels`. All is written beside its place and renamed when whole.

    Args:
        layout: a name in `radseg.pipelines.layouts.LAYOUTS`.
        source: the data set's folder or URL.
        output: folder of the result, which may be `source`, or a URL.
        split: `patient` keeps a patient on one side; `slice` or `image` deals single images, as the papers did;
            `published` takes the data set's own.
        ratios: training, validation and test, such as (70, 10, 20) or "70/10/20"; with folds also two numbers, of
            which the second is the test's, and validation is the first fold. The layout's own if not given.
        folds: cross-validation folds over training and validation; the layout's own if neither is given.
        seed: of the split.
        copy: copies the images and labels into `output/images` and `output/labels`; always with a URL.
        overwrite: replaces what an earlier import wrote to `output`.
        progress: show bars.
        options: of the layout, see its module.

    Raises:
        ConfigError: the layout, an option, the split or the ratios can't be used.
        InputError: the folder hasn't the structure, there are too few patients, or `output` can't be written or has a
            datalist.
    """
    kind = layout_named(layout)
    if split not in SPLIT_BY:
        raise ConfigError(f"split {split!r} is unknown; there are {', '.join(SPLIT_BY)}")
    if is_remote(source) or is_remote(output):
        with urls_in_errors(), made_at(output, _DATALIST) as folder:
            report = import_dataset(
                layout, local_copy(source), folder, split=split, ratios=ratios, folds=folds, seed=seed, copy=True,
                overwrite=overwrite, progress=progress, **options,
            )  # fmt: skip
        return replace(report, datalist=child(output, _DATALIST))
    source, output = Path(source), Path(output)
    chosen, folds = _proportions(kind, split, ratios, folds)
    earlier = earlier_import(output, overwrite)
    found = kind.items(source, **options)
    see_free(found, output, earlier, copy)
    names = _names(found, source)
    placed = _split(found, names, source, split, chosen, folds, seed)
    made, leak = _said(placed, split, chosen, folds, seed)
    warnings = list(found.warnings)
    if split == "patient" and all(item.published_split for item in found.items):
        warnings.append("the data set has a split of its own, which wasn't used: --split published takes it")
    with written_whole(output, earlier) as part:
        placed, notes = _write_files(placed, output, part, copy, progress)
        warnings += notes
        content = {
            "name": source.resolve().name,
            "description": kind.description,
            "labels": dict(found.labels),
            "layout": kind.name,
            "split": split,
            "made": made,
            **({"leak": leak} if leak else {}),
            "ratios": None if chosen is None else list(chosen),
            "folds": folds,
            "seed": seed,
            "written": sorted(folder.name for folder in part.iterdir()),
            "warnings": warnings,
            **{side: [_entry(one, output) for one in placed if one.split == side] for side in SPLITS},
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (part / _DATALIST).write_text(text, encoding="utf-8")
    patients = {side: len({one.item.patient for one in placed if one.split == side}) for side in SPLITS}
    images = {side: sum(one.split == side for one in placed) for side in SPLITS}
    return Report(
        *(output / _DATALIST, kind.name, images, patients, split, chosen, folds, seed, made, leak),
        warnings=tuple(warnings),
    )


def parse_ratios(text: str) -> tuple[float, ...]:
    """The numbers of "70/10/20".

    Raises:
        ConfigError: it isn't numbers between slashes.
    """
    try:
        return tuple(float(number) for number in text.split("/"))
    except ValueError as error:
        raise ConfigError(f"ratios {text!r}: give numbers between slashes, such as 70/10/20") from error


def _proportions(
    kind: Layout, split: str, ratios: Sequence[float] | str | None, folds: int | None
) -> tuple[tuple[float, ...] | None, int | None]:
    """The ratios and folds to use: what was asked for, else what the layout's paper did."""
    if split == "published":
        if ratios is not None:
            raise ConfigError("a published split has no ratios; leave out --ratios or --split published")
        return None, folds
    if ratios is None:
        chosen, folds = kind.ratios, folds or kind.folds
    else:
        chosen = parse_ratios(ratios) if isinstance(ratios, str) else tuple(ratios)
    said = "/".join(f"{ratio:g}" for ratio in chosen)
    if len(chosen) not in (2, 3):
        raise ConfigError(f"ratios {said}: give three numbers (training/validation/test), or two and --folds")
    if len(chosen) == 2 and folds is None:
        raise ConfigError(f"ratios {said}: two numbers leave no validation; give three, or --folds N")
    shares(0, chosen)
    return chosen, folds


def _split(
    found: Found,
    names: Sequence[str],
    source: Path,
    split: str,
    ratios: tuple[float, ...] | None,
    folds: int | None,
    seed: int,
) -> list[_Placed]:
    """The items with their split and fold, in the order of their paths."""
    units = [item.patient if split in ("patient", "published") else _key(item, source) for item in found.items]
    sizes = Counter(units)
    if ratios is None:
        sides = _published(found)
    else:
        order = SPLITS if len(ratios) == 3 else ("training", "test")
        sides = {unit: order[side] for unit, side in split_groups(sizes, ratios, seed).items()}
    fold_of: dict[str, int] = {}
    if folds is not None:
        pool = {unit: size for unit, size in sizes.items() if sides[unit] != "test"}
        fold_of = fold_groups(pool, folds, seed)
        if ratios is not None and len(ratios) == 2:
            sides.update({unit: "validation" for unit, fold in fold_of.items() if fold == 0})
    placed = [
        _Placed(item, sides[unit], fold_of.get(unit), name, item.image, None)
        for item, unit, name in zip(found.items, units, names, strict=True)
    ]
    return sorted(placed, key=lambda one: _key(one.item, source))


def _published(found: Found) -> dict[str, str]:
    """The published side of each patient."""
    sides: dict[str, str] = {}
    for item in found.items:
        if item.published_split is None:
            raise InputError(f"{item.image}: has no published split; use --split patient")
        if sides.setdefault(item.patient, item.published_split) != item.published_split:
            raise InputError(
                f"{item.image}: patient {item.patient} is published in {sides[item.patient]} and in "
                f"{item.published_split}, a leak; use --split patient"
            )
    return sides


def _said(
    placed: Sequence[_Placed], split: str, ratios: tuple[float, ...] | None, folds: int | None, seed: int
) -> tuple[str, str | None]:
    """How the split was made, and the warning if it may leak."""
    how = "as published" if ratios is None else f"by {split}, {'/'.join(f'{ratio:g}' for ratio in ratios)}, seed {seed}"
    if folds is not None:
        how += f", {folds} folds over training and validation"
        if ratios is not None and len(ratios) == 2:
            how += " (validation is fold 0)"
    if split not in ("slice", "image"):
        return how, None
    sides: dict[str, set[tuple[str, int | None]]] = defaultdict(set)
    for one in placed:
        sides[one.item.patient].add((one.split, one.fold))
    return how, LEAK.format(unit=split, count=sum(len(on) > 1 for on in sides.values()))


def _key(item: Item, source: Path) -> str:
    return Path(os.path.relpath(item.image, source)).as_posix()


def _names(found: Found, source: Path) -> list[str]:
    """A file name for each item: its case's, and `-<6 hex of its relative path>` for a second one of the same name."""
    taken: set[str] = set()
    names = {}
    for item in sorted(found.items, key=lambda item: _key(item, source)):
        name = item.name
        if name.casefold() in taken:
            name += "-" + hashlib.sha256(_key(item, source).encode()).hexdigest()[:6]
        taken.add(name.casefold())
        names[item.image] = name
    return [names[item.image] for item in found.items]


def _write_files(
    placed: Sequence[_Placed], output: Path, part: Path, copy: bool, progress: bool
) -> tuple[list[_Placed], tuple[str, ...]]:
    """Makes and copies into `part` what belongs into the data set; the items with their final paths."""
    notes: dict[str, list[str]] = defaultdict(list)
    written = []
    for one in tracked(placed, "copying" if copy else "making labels", progress):
        item = one.item
        image = item.image
        if copy:
            image = _copy(item.image, part, output, "images", one.name)
        if isinstance(item.label, MadeLabel):
            label = output / "labels" / (one.name + item.label.suffix)
            (part / "labels").mkdir(exist_ok=True)
            for note in item.label.write(part / "labels" / label.name):
                notes[note].append(one.name)
        else:
            label = _copy(item.label, part, output, "labels", one.name) if copy else item.label
        written.append(replace(one, image=image, label=label))
    return written, tuple(f"{note}: {listed(names)}" for note, names in sorted(notes.items()))


def _copy(file: Path, part: Path, output: Path, folder: str, name: str) -> Path:
    suffix = suffix_of(file)
    if suffix in _DETACHED:
        raise InputError(f"{file}: a header whose voxels lie in another file isn't copied; leave out --copy")
    (part / folder).mkdir(exist_ok=True)
    shutil.copyfile(file, part / folder / (name + suffix))
    return output / folder / (name + suffix)


def _entry(placed: _Placed, output: Path) -> dict[str, str | int]:
    """An item as it stands in the datalist."""
    entry: dict[str, str | int] = {"image": relative_to(output, placed.image)}
    if placed.label is not None:
        entry["label"] = relative_to(output, placed.label)
    entry["patient"] = placed.item.patient
    if placed.fold is not None:
        entry["fold"] = placed.fold
    return entry
