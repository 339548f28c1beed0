"""VerSe, vertebrae in CT, in its BIDS-like form: CTs in `rawdata`, masks of numbered vertebrae in `derivatives`."""

from functools import partial
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.folders import require, without
from radseg.pipelines.layouts.item import Found, Item, MadeLabel
from radseg.pipelines.layouts.vertebrae import fracture_warnings, label_from_numbers, labels_of, read_fractures

_IMAGE, _MASK = "_ct.nii.gz", "_seg-vert_msk.nii.gz"
_PARTS = ("training", "validation", "test")


def items(source: Path, *, fractures: Path | str | None = None, numbered: bool = False) -> Found:
    """CTs with vertebrae merged to 1, fractured ones to 2, or numbered; a subject (`sub-verse014`) is a patient.

    Files are `rawdata/sub-X/sub-X[_…]_ct.nii.gz` and `derivatives/sub-X/sub-X[_…]_seg-vert_msk.nii.gz`
    (github.com/anjany/verse); "…" is `dir-ax`, `split-verse253` and the like.

    Args:
        source: the folder that holds `rawdata` and `derivatives`, or the one that holds the folders of the three parts
            (`dataset-01training`, `02_validation`, …), whose names are then the published split.
        fractures: CSV file with the columns case (a subject, or its file's name up to `_ct`) and vertebra.
        numbered: keep vertebrae apart, as simulated fractures need: 100 + VerSe's number, 200 + it where fractured.

    Raises:
        InputError: the structure is missing, no CT has a mask, or the table of fractures can't be used.
    """
    folders = _folders(source)
    table = read_fractures(fractures)
    found: list[Item] = []
    images_alone: list[str] = []
    cases: list[str] = []
    masks: set[Path] = set()
    for folder in folders:
        part = next((part for part in _PARTS if part in folder.name.lower()), None)
        masks.update(path for path in (folder / "derivatives").glob(f"*/*{_MASK}") if not path.name.startswith("."))
        for image in sorted((folder / "rawdata").glob(f"*/*{_IMAGE}")):
            if image.name.startswith("."):
                continue
            name = image.name.removesuffix(_IMAGE)
            subject = image.parent.name
            mask = folder / "derivatives" / subject / f"{name}{_MASK}"
            if mask not in masks:
                images_alone.append(image.name)
                continue
            masks.remove(mask)
            cases += [name, subject]
            fractured = table.get(name, frozenset()) | table.get(subject, frozenset())
            label = MadeLabel(".nii.gz", partial(label_from_numbers, mask, fractured, numbered))
            found.append(Item(name, image, label, subject, part))
    if not found:
        raise InputError(
            f"{source}: no CT (rawdata/sub-*/*{_IMAGE}) has a mask (derivatives/sub-*/*{_MASK}); "
            "download the restructured form of the data set"
        )
    warnings = (
        *without("images", "mask", images_alone),
        *without("masks", "image", sorted(path.name for path in masks)),
        *fracture_warnings(table, cases, fractures is not None),
    )
    return Found(tuple(found), warnings, labels_of(numbered))


def _folders(source: Path) -> list[Path]:
    """The folders with rawdata and derivatives: the source, or those just below it."""
    if source.is_dir() and not (source / "rawdata").is_dir():
        below = [path.parent for path in sorted(source.glob("*/rawdata")) if (path.parent / "derivatives").is_dir()]
        if below:
            return below
    require(source, "rawdata", "derivatives")
    return [source]
