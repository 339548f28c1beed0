"""Kaggle's COVID-19 CT scan lesion segmentation data set: slices in `frames/*.png`, lesions in `masks/*.png`."""

import re
from pathlib import Path

from radseg.pipelines.layouts.folders import images_by_stem, listed, pair, require
from radseg.pipelines.layouts.item import Found, Item

PATIENT = re.compile(
    r"Jun_(coronacases_case\d+)_\d+"
    r"|Jun_(radiopaedia_\d+)_\d+_\d+(?:_case\d+)?_\d+"  # Radiopaedia's case, study, series
    r"|(Morozov_study_\d+)_\d+"
    r"|(bjorke)_\d+"
)
"""The names of slices, `<source>_<patient>_<slice>`; what a group matched is the patient.

`Jun_coronacases_case1_12`, `Jun_radiopaedia_10_85902_1_case11_40` (a Radiopaedia case may have several series: all are
one patient), `Morozov_study_0255_7`. `bjorke_8` tells no patient: these slices of several patients count as one.
"""


def items(source: Path) -> Found:
    """CT slices (512×512) with lesion masks, patients by file name, see `PATIENT`.

    Args:
        source: the folder that holds `frames` and `masks`.

    Raises:
        InputError: a folder is missing, or no slice has a mask.
    """
    require(source, "frames", "masks")
    pairs, warnings = pair(images_by_stem(source / "frames"), images_by_stem(source / "masks"), source)
    found: list[Item] = []
    unknown: list[str] = []
    for stem, image, mask in pairs:
        name = Path(stem).name
        match = PATIENT.fullmatch(name)
        if match is None:
            unknown.append(image.name)
        patient = next(filter(None, match.groups())) if match else stem
        found.append(Item(name, image, mask, patient))
    notes = list(warnings)
    if unknown:
        notes.append(
            f"{len(unknown)} names tell no patient and count as a patient each: {listed(unknown)}; "
            "slices of one patient may lie in training and test"
        )
    bjorke = sum(item.patient == "bjorke" for item in found)
    if bjorke:
        notes.append(
            f"{bjorke} slices named bjorke_* come from patients that the names don't tell; they count as one patient"
        )
    return Found(tuple(found), tuple(notes), {"0": "background", "1": "lesion"})
