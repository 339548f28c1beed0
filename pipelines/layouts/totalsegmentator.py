"""TotalSegmentator's training data: a folder a subject with `ct.nii.gz` and a mask a structure, and `meta.csv`."""

import re
from functools import partial
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.folders import require, without
from radseg.pipelines.layouts.item import Found, Item, MadeLabel
from radseg.pipelines.layouts.tables import read_rows
from radseg.pipelines.layouts.vertebrae import IDS, fracture_warnings, label_from_parts, labels_of, read_fractures

_SUBJECT = re.compile(r"s\d+")
_MASK = re.compile(r"vertebrae_([CTL]\d+)\.nii\.gz")  # S1 and the sacrum are left out, as in VerSe
_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def items(source: Path, *, fractures: Path | str | None = None, numbered: bool = False) -> Found:
    """CTs with the vertebrae C1 to L6 merged to 1, fractured ones to 2, or numbered; each subject is a patient.

    The column `split` of `meta.csv` (train, val, test; semicolons, doi.org/10.5281/zenodo.6802613) is the published
    split.

    Args:
        source: the folder that holds `s0001`, `s0002`, ….
        fractures: CSV file with the columns case (`s0001`) and vertebra.
        numbered: keep vertebrae apart, as simulated fractures need: 100 + VerSe's number, 200 + it where fractured.

    Raises:
        InputError: no subject is there or has a mask, or a table can't be used.
    """
    require(source)
    subjects = [path for path in sorted(source.iterdir()) if _SUBJECT.fullmatch(path.name) and path.is_dir()]
    if not subjects:
        below = next(
            (path for path in sorted(source.glob("*/s*/ct.nii.gz")) if _SUBJECT.fullmatch(path.parent.name)), None
        )
        remedy = f"give {below.parents[1]}" if below else "give the folder that holds s0001, s0002, …"
        raise InputError(f"{source}: no sNNNN/ct.nii.gz in it; {remedy}")
    published = _published(source / "meta.csv")
    table = read_fractures(fractures)
    found: list[Item] = []
    no_mask: list[str] = []
    no_image: list[str] = []
    for subject in subjects:
        image, name = subject / "ct.nii.gz", subject.name
        parts = _parts(subject / "segmentations")
        if not image.is_file():
            no_image.append(name)
        elif not parts:
            no_mask.append(name)
        else:
            fractured = table.get(name, frozenset())
            label = MadeLabel(".nii.gz", partial(label_from_parts, parts, fractured, numbered, image))
            found.append(Item(name, image, label, name, published.get(name)))
    if not found:
        raise InputError(f"{source}: no subject has ct.nii.gz and segmentations/vertebrae_*.nii.gz; unpack it whole")
    warnings = (
        *without("subjects", "masks of vertebrae", no_mask),
        *without("subjects", "ct.nii.gz", no_image),
        *fracture_warnings(table, [subject.name for subject in subjects], fractures is not None),
    )
    return Found(tuple(found), warnings, labels_of(numbered))


def _parts(folder: Path) -> dict[int, Path]:
    matches = ((path, _MASK.fullmatch(path.name)) for path in folder.glob("vertebrae_*.nii.gz"))
    return {IDS[match[1]]: path for path, match in matches if match and match[1] in IDS}


def _published(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    splits = {}
    for row in read_rows(file, ("image_id", "split")):
        if row["split"] not in _SPLITS:
            raise InputError(
                f"{file}: split {row['split']!r} of {row['image_id']} is unknown; write train, val or test"
            )
        splits[row["image_id"]] = _SPLITS[row["split"]]
    return splits
