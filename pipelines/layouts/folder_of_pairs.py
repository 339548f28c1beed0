"""Two folders, one of images and one of masks, paired by file stem: the layout of data sets that follow no standard."""

import re
from collections.abc import Callable
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.folders import images_by_stem, listed, pair, require
from radseg.pipelines.layouts.item import Found, Item
from radseg.pipelines.layouts.relabel import read_label_map, relabelled
from radseg.pipelines.layouts.tables import read_rows


def items(
    source: Path,
    *,
    images: str = "images",
    labels: str = "masks",
    label_suffix: str = "",
    patient_pattern: str | None = None,
    patients: Path | str | None = None,
    label_map: Path | str | None = None,
) -> Found:
    """Images and masks of the same relative stem, in any format that can be read.

    Args:
        source: the folder that holds both.
        images: folder of the images, relative to `source`.
        labels: folder of the masks.
        label_suffix: what a mask's stem has after its image's, such as "_mask".
        patient_pattern: regular expression searched for in the relative stem; its group `patient`, else its first
            group, else the whole match is the patient. Without it and `patients`, each image is its own.
        patients: CSV file with the columns image and patient; image is a file name, a stem, or either with its folder.
            Other names of the two columns follow the file's: `volumes.csv:slice:volume`.
        label_map: CSV file with the columns value and label: NIfTI masks are written anew with these labels, all other
            values background.

    Raises:
        InputError: a folder is missing, no image has a mask, or the pattern or a CSV can't be used.
    """
    require(source, images, labels, options=("--images", "--labels"))
    if not label_suffix and (source / images).resolve() == (source / labels).resolve():
        raise InputError(
            f"{source / images}: is named as the folder of images and of masks, so each image would be its own mask; "
            "name another by --labels, or what the masks' names end in by --label-suffix"
        )
    masks = images_by_stem(source / labels, drop=label_suffix)
    pairs, warnings = pair(images_by_stem(source / images), masks, source / images, source / labels)
    if patient_pattern is not None and patients is not None:
        raise InputError("give patients by a pattern or by a CSV file, not both")
    patient_of: Callable[[str, Path], str | None]
    if patients is not None:
        patient_of = _by_table(Path(patients))
    elif patient_pattern is not None:
        patient_of = _by_pattern(patient_pattern)
    else:
        patient_of = _none_known
        warnings = (*warnings, "no patients were named: each image counts as a patient of its own")
    known = {stem: patient_of(stem, image) for stem, image, _ in pairs}
    if patient_pattern is not None and len(pairs) > 1 and len(set(known.values())) == 1 and None not in known.values():
        raise InputError(
            f"patient pattern {patient_pattern!r}: calls all {len(pairs)} images one patient, "
            f"{known[pairs[0][0]]!r}; put what tells patients apart in parentheses, such as '(p[0-9]+)'"
        )
    unknown = [image.name for stem, image, _ in pairs if known[stem] is None]
    if unknown and patient_of is not _none_known:
        told = f"{len(unknown)} images have no patient by {patients or patient_pattern} and count as a patient each"
        warnings = (*warnings, f"{told}: {listed(unknown)}")
    table = None if label_map is None else read_label_map(label_map)
    items = (
        Item(Path(stem).name, image, mask if table is None else relabelled(mask, table), known[stem] or stem)
        for stem, image, mask in pairs
    )
    return Found(tuple(items), warnings)


def _none_known(stem: str, image: Path) -> str | None:
    return None


def _by_pattern(pattern: str) -> Callable[[str, Path], str | None]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"patient pattern {pattern!r}: isn't a regular expression ({error}); correct it") from error
    group: str | int = "patient" if "patient" in compiled.groupindex else min(1, compiled.groups)

    def patient_of(stem: str, image: Path) -> str | None:
        match = compiled.search(stem)
        return match[group] if match else None

    return patient_of


def _by_table(table: Path) -> Callable[[str, Path], str | None]:
    file, columns = table, ("image", "patient")
    if not table.exists() and str(table).count(":") >= 2:
        name, image_column, patient_column = str(table).rsplit(":", 2)
        file, columns = Path(name), (image_column, patient_column)
    by_image: dict[str, str] = {}
    for row in read_rows(file, columns):
        image, patient = (row[column] for column in columns)
        if by_image.setdefault(image, patient) != patient:
            raise InputError(f"{file}: {image} has two patients; correct the table")

    def patient_of(stem: str, image: Path) -> str | None:
        relative = (Path(stem).parent / image.name).as_posix()
        names = (relative, stem, image.name, Path(stem).name)
        return next((by_image[name] for name in names if name in by_image), None)

    return patient_of
