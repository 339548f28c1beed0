"""One projection radiograph in DICOM (DX, CR or digitised film) to grey values as displayed, with its pixel spacing."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.display_grey import display_grey
from radseg.pipelines.io.dicom.header import (
    RADIOGRAPH_MODALITIES,
    SCREEN_WORDS,
    SECONDARY_CAPTURE,
    Header,
    quiet_pydicom,
    read_header,
)
from radseg.pipelines.io.dicom.objects import no_image, object_name
from radseg.pipelines.io.dicom.pixels import read_dataset, stored_frames
from radseg.pipelines.io.dicom.values import numbers
from radseg.pipelines.io.volume import LPS_TO_RAS, Volume, first_line, too_many_pixels

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "Computed Radiography Image Storage",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray Image Storage - For Presentation",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "Digital X-Ray Image Storage - For Processing",
}
PHOTOMETRIC_INTERPRETATIONS = (
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"),
    *("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
)
_OTHERS = {
    **{"MG": "mammogram", "XA": "angiogram", "RF": "fluoroscopy", "IO": "intra-oral radiograph"},
    **{"PX": "panoramic radiograph", "OT": "other", "SC": "secondary capture"},
}
_EXPECTED = f"{', '.join(RADIOGRAPH_MODALITIES[:-1])} or {RADIOGRAPH_MODALITIES[-1]}"
_MOST_MM = 1e3  # a pixel
_LATERAL = ("LL", "RL", "LAT", "LATERAL")
# Where PatientOrientation's letters lie in a picture of the standard display: columns to the left, rows to the feet.
_PICTURE_DIRECTIONS = {"L": (1, 0), "R": (-1, 0), "F": (0, 1), "H": (0, -1)}


def wants_radiographs(modality: str) -> bool:
    """Whether a bundle's modality is that of radiographs: "DX" (or CR, RG) stands for all of them."""
    return modality in RADIOGRAPH_MODALITIES


def radiograph_trouble(header: Header) -> str:
    """Why a DICOM file can't be taken as a radiograph, in one line; "" when it can."""
    if header.damage:
        return f"{header.damage}; fetch the image again"
    if header.modality not in RADIOGRAPH_MODALITIES:
        if header.modality:
            said = f" ({_OTHERS[header.modality]})" if header.modality in _OTHERS else ""
            said = said or (f" ({object_name(header.sop_class)})" if no_image(header) else "")
            remedy = "; give it to a CT bundle" if header.modality == "CT" and not no_image(header) else ""
            return f"Modality {header.modality}{said}, expected {_EXPECTED}{remedy}"
        if header.sop_class not in SOP_CLASSES:
            return f"no Modality and nothing that shows it is {_EXPECTED}; set Modality if it is"
    if no_image(header):
        return no_image(header)
    if header.frames > 1:
        return f"{header.frames} frames, a radiograph has one; save the one that is wanted"
    if not (header.rows and header.columns):
        return "no Rows or Columns, so no image"
    too_many = too_many_pixels(header.columns, header.rows)
    if too_many:
        return too_many
    if set(header.image_type) & SCREEN_WORDS:
        return "a screenshot (secondary capture), not a radiograph"
    if header.photometric not in PHOTOMETRIC_INTERPRETATIONS:
        what = f"PhotometricInterpretation {header.photometric} isn't known" if header.photometric else ""
        return f"{what or 'no PhotometricInterpretation'}; export the image as MONOCHROME2"
    if header.pixel_trouble:
        return f"{header.pixel_trouble}; fetch the image again"
    return ""


def read_radiograph(path: Path) -> Volume:
    """Read one radiograph as a viewer shows it.

    Grey values: see `display_grey`. Spacing: PixelSpacing; where it is missing, or is the detector's and nobody
    corrected it (PS3.3 10.7.1.3), ImagerPixelSpacing divided by EstimatedRadiographicMagnificationFactor, with a note
    when there is no such factor; else it is unknown and a pixel counts as 1 mm.

    Axes: a radiograph is kept like a picture, so that DICOM and JPEG of one image are prepared alike: columns run to
    the patient's left, rows to "posterior", which stands for the feet. i and j are the picture's axes, no anatomical
    plane. The stored pixels stay where they are. An image that PatientOrientation calls mirrored (R\\F), upside down or
    turned has an affine that says so, and `Orientationd` brings it to the standard display and its mask back.

    Returns:
        array (column, row, 1), grey 0–255.

    Raises:
        InputError: not a single-frame radiograph, or its pixels can't be decoded or shown.
    """
    header = read_header(path)
    trouble = "not readable as DICOM; fetch it again" if header is None else radiograph_trouble(header)
    if header is None or trouble:
        raise InputError(f"{path}: {trouble}")
    dataset = read_dataset(path)
    stored = next(iter(stored_frames(dataset, path)))
    try:
        with quiet_pydicom(), np.errstate(all="ignore"):  # absurd numbers end in infinite greys, which are refused
            grey_ji, notes = display_grey(stored, dataset)
            spacing_mm, spacing_note = _spacing(dataset)
            affine_lps, turned_note = _affine(dataset, spacing_mm or (1.0, 1.0))
            said = (spacing_note, turned_note, *notes, *_doubts(header, dataset))
    except Exception as error:  # pydicom's and NumPy's, of whatever a damaged file says
        raise InputError(f"{path}: {first_line(error)[:160]}; export the image again") from error
    return Volume(
        np.ascontiguousarray(grey_ji).T[..., np.newaxis],
        LPS_TO_RAS @ affine_lps,
        "grey",
        tuple(note for note in said if note),
        spacing_known=spacing_mm is not None,
        is_picture=True,
    )


def _spacing(dataset: Any) -> tuple[tuple[float, float] | None, str]:
    """Spacing between rows and between columns in mm, None when unknown, and what is to be said about it."""
    corrected, detector = (_two_lengths(dataset.get(keyword)) for keyword in ("PixelSpacing", "ImagerPixelSpacing"))
    if corrected and (corrected != detector or dataset.get("PixelSpacingCalibrationType")):
        return corrected, ""
    if detector is None:
        return None, "no PixelSpacing or ImagerPixelSpacing: lengths are unknown"
    factor = numbers(dataset.get("EstimatedRadiographicMagnificationFactor"), 1)
    if factor is None or factor[0] <= 0:
        return detector, "spacing measured at the detector: lengths are magnified"
    in_patient = (detector[0] / factor[0], detector[1] / factor[0])
    return in_patient, f"spacing measured at the detector, divided by its magnification of {factor[0]:g}"


def _two_lengths(value: Any) -> tuple[float, float] | None:
    lengths = numbers(value, 2)
    return (lengths[0], lengths[1]) if lengths and min(lengths) > 0 and max(lengths) < _MOST_MM else None


def _affine(dataset: Any, spacing_mm: tuple[float, float]) -> tuple[npt.NDArray[np.float64], str]:
    """Picture axes to LPS, and a note when the stored rows or columns don't run as displayed."""
    between_rows, between_columns = spacing_mm
    along_row, along_column = usual = (1, 0), (0, 1)
    value = dataset.get("PatientOrientation")
    words = [str(word).strip().upper()[:3] for word in value] if value and not isinstance(value, str) else []
    if len(words) == 2:
        # in a lateral view one axis is anterior or posterior, which has no side of its own: it stays as stored
        row, column = (
            stored if word[:1] in ("A", "P") else _PICTURE_DIRECTIONS.get(word[:1])
            for word, stored in zip(words, usual, strict=True)
        )
        if row and column and row[0] * column[0] + row[1] * column[1] == 0:
            along_row, along_column = row, column
    affine_lps = np.eye(4)
    affine_lps[:2, 0] = np.array(along_row) * between_columns
    affine_lps[:2, 1] = np.array(along_column) * between_rows
    as_shown = (along_row, along_column) == usual
    return affine_lps, "" if as_shown else f"PatientOrientation {'/'.join(words)}: turned to the standard display"


def _doubts(header: Header, dataset: Any) -> list[str]:
    notes = []
    view = str(dataset.get("ViewPosition") or "").strip().upper()
    if view in _LATERAL:
        notes.append(f"lateral view: ViewPosition {view}, where frontal views are expected")
    if str(dataset.get("PresentationIntentType") or "").strip().upper() == "FOR PROCESSING":
        notes.append("PresentationIntentType FOR PROCESSING: raw values, not made for display")
    if header.sop_class.startswith(SECONDARY_CAPTURE):
        notes.append("stored as a secondary capture: the grey values may have been changed")
    return notes
