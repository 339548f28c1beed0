"""Make the sample data: synthetic spine and lung CTs, and radiographs of chests and pelves, with masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.datalist import datalist_text
from radseg.sample_data.lung_cases import LUNG_CASES
from radseg.sample_data.lung_phantom import LungCase, make_lungs
from radseg.sample_data.pelvis_cases import PELVIS_CASES
from radseg.sample_data.radiographs import CHEST_VIEWS, Radiograph, chest_radiographs, pelvis_radiograph
from radseg.sample_data.spine_cases import SPINE_CASES
from radseg.sample_data.spine_phantom import SpineCase, make_spine
from radseg.sample_data.write_dicom import SeriesForm, write_dicom_series
from radseg.sample_data.write_nifti import write_nifti
from radseg.sample_data.write_png import write_png
from radseg.sample_data.write_radiograph import write_radiograph_dicom

CHEST_CASES = {case.name.replace("lung", "chest"): case for case in LUNG_CASES}
"""The patients of the lung CTs again, who get radiographs."""

CASE_NAMES = (*(case.name for case in (*SPINE_CASES, *LUNG_CASES)), *CHEST_CASES, *(case.name for case in PELVIS_CASES))
DICOM_TWINS = {
    "spine04": SeriesForm(reversed_instances=True),
    "spine06": SeriesForm(is_signed=True),
    "lung04": SeriesForm(),
    "lung06": SeriesForm(reversed_instances=True, is_signed=True),
}
"""The cases that are also written as a DICOM series, and how."""

DX_TWINS = ("chest06_pa", "pelvis10")
"""The radiographs that are also written as DICOM."""

PNG_SLICES = {"lung01": (9, 14), "lung02": (16,), "lung04": (9,), "lung05": (17,), "lung06": (13, 21)}
"""The slices of each lung CT that are also written as PNG."""

_WINDOW_LOW_HU, _WINDOW_WIDTH_HU = -1350, 1500


def make(output: Path, cases: Collection[str] | None = None, report: Callable[[str], None] | None = None) -> None:
    """Write the sample data.

    Below `output` there will be `spine`, `lung_ct`, `lung_xray` and `pelvis_xray`, each with `imagesTr`, `labelsTr`,
    `dicom` and `datalist.json`, and below `lung_ct` also `lungs`, `slices` and `slices_masks`. Files of the same names
    are replaced.

    Args:
        output: The folder; it is made.
        cases: Names of the cases to make, of `CASE_NAMES`; None makes all. The datalists name these only.
        report: Called with one line of text when a case is written.

    Raises:
        ValueError: If a name isn't in `CASE_NAMES`.
    """
    wanted = CASE_NAMES if cases is None else tuple(cases)
    unknown = sorted(set(wanted) - set(CASE_NAMES))
    if unknown:
        raise ValueError(f"no sample case is called {', '.join(unknown)}; there are {', '.join(CASE_NAMES)}")
    for spine_case in SPINE_CASES:
        if spine_case.name in wanted:
            _write_spine(output / "spine", spine_case)
            if report:
                report(f"spine/{spine_case.name}")
    for lung_case in LUNG_CASES:
        if lung_case.name in wanted:
            _write_lung(output / "lung_ct", lung_case)
            if report:
                report(f"lung_ct/{lung_case.name}")
    for name, chest_case in CHEST_CASES.items():
        if name in wanted:
            for view, radiograph in chest_radiographs(chest_case).items():
                _write_radiograph(output / "lung_xray", f"{name}{view}", radiograph, "CHEST")
            if report:
                report(f"lung_xray/{name}")
    for pelvis_case in PELVIS_CASES:
        if pelvis_case.name in wanted:
            _write_radiograph(output / "pelvis_xray", pelvis_case.name, pelvis_radiograph(pelvis_case), "PELVIS")
            if report:
                report(f"pelvis_xray/{pelvis_case.name}")
    _write_datalists(output, wanted)


def _write_spine(folder: Path, case: SpineCase) -> None:
    image_hu, label = make_spine(case)
    write_nifti(folder / "imagesTr" / f"{case.name}.nii.gz", image_hu, case.grid)
    write_nifti(folder / "labelsTr" / f"{case.name}.nii.gz", label, case.grid)
    if form := DICOM_TWINS.get(case.name):
        series = folder / "dicom" / case.name
        write_dicom_series(
            series, image_hu, case.grid, name=case.name, body_part="SPINE", window=(400, 1800), form=form
        )


def _write_lung(folder: Path, case: LungCase) -> None:
    images = make_lungs(case)
    write_nifti(folder / "imagesTr" / f"{case.name}.nii.gz", images.image_hu, case.grid)
    write_nifti(folder / "labelsTr" / f"{case.name}.nii.gz", images.lesion, case.grid)
    write_nifti(folder / "lungs" / f"{case.name}.nii.gz", images.lung, case.grid)
    if form := DICOM_TWINS.get(case.name):
        series = folder / "dicom" / case.name
        window = (_WINDOW_LOW_HU + _WINDOW_WIDTH_HU // 2, _WINDOW_WIDTH_HU)
        write_dicom_series(
            series, images.image_hu, case.grid, name=case.name, body_part="CHEST", window=window, form=form
        )
    for index in PNG_SLICES.get(case.name, ()):
        # As displayed: rows run from anterior to posterior, columns from the patient's right to the left.
        write_png(folder / "slices" / f"{case.name}_{index}.png", _windowed(images.image_hu[:, :, index].T))
        write_png(folder / "slices_masks" / f"{case.name}_{index}.png", images.lesion[:, :, index].T * np.uint8(255))


def _write_radiograph(folder: Path, name: str, radiograph: Radiograph, body_part: str) -> None:
    write_png(folder / "imagesTr" / f"{name}.png", radiograph.pixels)
    write_png(folder / "labelsTr" / f"{name}.png", radiograph.mask * np.uint8(255))
    if name in DX_TWINS:
        write_radiograph_dicom(folder / "dicom" / f"{name}.dcm", radiograph, name=name, body_part=body_part)


def _windowed(image_hu: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return grey values 0 to 255 of the window −1350…150 HU, in whole numbers throughout."""
    above = np.clip(image_hu.astype(np.int64) - _WINDOW_LOW_HU, 0, _WINDOW_WIDTH_HU)
    return ((above * 255 + _WINDOW_WIDTH_HU // 2) // _WINDOW_WIDTH_HU).astype(np.uint8)


def _write_datalists(output: Path, wanted: Collection[str]) -> None:
    spines = [case.name for case in SPINE_CASES if case.name in wanted]
    lungs = [case.name for case in LUNG_CASES if case.name in wanted]
    if spines:
        text = datalist_text(
            "radseg sample spine CT",
            "Synthetic CTs of the spine, some vertebrae fractured; phantoms, no patients",
            {0: "background", 1: "vertebra", 2: "fractured vertebra"},
            spines,
        )
        (output / "spine" / "datalist.json").write_text(text, encoding="utf-8", newline="\n")
    if lungs:
        text = datalist_text(
            "radseg sample lung CT",
            "Synthetic CTs of the chest with pneumonia; phantoms, no patients",
            {0: "background", 1: "lesion"},
            lungs,
        )
        (output / "lung_ct" / "datalist.json").write_text(text, encoding="utf-8", newline="\n")
    chests = [name for name in CHEST_CASES if name in wanted]
    pelves = [case.name for case in PELVIS_CASES if case.name in wanted]
    if chests:
        text = datalist_text(
            "radseg sample chest X-ray",
            "Simulated: radiographs computed from synthetic CTs of the chest; no patients",
            {0: "background", 1: "lung"},
            chests,
            ".png",
            CHEST_VIEWS,
        )
        (output / "lung_xray" / "datalist.json").write_text(text, encoding="utf-8", newline="\n")
    if pelves:
        text = datalist_text(
            "radseg sample pelvic X-ray",
            "Simulated: radiographs computed from synthetic CTs of the pelvis; no patients",
            {0: "background", 1: "pelvis"},
            pelves,
            ".png",
        )
        (output / "pelvis_xray" / "datalist.json").write_text(text, encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the sample data from the command line, by default in the folder of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).resolve().parent, metavar="DIR", help="folder to write to"
    )
    parser.add_argument("--cases", nargs="+", choices=CASE_NAMES, metavar="NAME", help="make only these cases")
    options = parser.parse_args(arguments)

    def report(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    make(options.output, options.cases, report)
    sys.stdout.write(f"sample data written to {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
