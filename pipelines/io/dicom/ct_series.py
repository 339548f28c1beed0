"""One DICOM series to one CT volume: which of its files are slices, why others are not, and their HU in place."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.arrangement import Arrangement, arrange
from radseg.pipelines.io.dicom.ct_stack import SliceFile, decode_stack
from radseg.pipelines.io.dicom.functional_groups import is_enhanced
from radseg.pipelines.io.dicom.header import (
    RADIOGRAPH_MODALITIES,
    SCREEN_WORDS,
    SECONDARY_CAPTURE,
    Header,
    read_header,
    unchanged,
)
from radseg.pipelines.io.dicom.hounsfield import AIR_HU, rescale_of
from radseg.pipelines.io.dicom.objects import energy_note, no_ct, no_image, object_name
from radseg.pipelines.io.dicom.pixels import read_dataset, stored_frames
from radseg.pipelines.io.dicom.slice_groups import alike, is_stray
from radseg.pipelines.io.dicom.straighten import straighten
from radseg.pipelines.io.volume import LPS_TO_RAS, Volume

CT_SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}
_SCOUT_WORDS = {"LOCALIZER", "SCOUT", "TOPOGRAM"}
_HU_TYPES = {"", "HU", "HU_MOD", "US"}
_HU_ONLY_INTERCEPT = -500.0

_STRAY = "of another size, PixelSpacing or orientation than the other slices (a localizer that isn't marked?)"
_TAG_TILT_TOLERANCE_DEGREES = 0.5


@dataclass(frozen=True)
class Selection:
    """What the files of one series came to.

    Attributes:
        files: one per slice, ascending along the normal, or the multi-frame file; empty when refused.
        set_aside: files that are no slices of the volume, with one reason for each group.
        refusal: why there is no volume; "" when there is one.
        notes: what was corrected.
        arrangement: of the frames of `files`, and how they come onto a regular grid; None when refused.
    """

    files: tuple[Path, ...] = ()
    set_aside: tuple[tuple[tuple[Path, ...], str], ...] = ()
    refusal: str = ""
    notes: tuple[str, ...] = ()
    arrangement: Arrangement | None = None


def select_slices(headers: Sequence[Header], *, modality: str = "CT", min_slices: int = 1) -> Selection:
    """Sort the files of one series into slices and others, and see whether the slices make a volume.

    Args:
        headers: all single-frame files of a series, or one multi-frame file.
        modality: DICOM Modality that is wanted.
        min_slices: the fewest slices that make a volume here.
    """
    for header in headers:
        if header.damage:
            return Selection(refusal=f"{header.damage} in {header.path.name}; fetch the images again")
    reasons = {header.path: not_a_slice(header, modality) for header in headers}
    slices = [header for header in headers if not reasons[header.path]]
    if not slices:
        return Selection(refusal=Counter(reasons.values()).most_common(1)[0][0])
    placed = [header for header in slices if None not in header.slices]
    for header in slices:
        if placed and header not in placed:
            reasons[header.path] = "no ImagePositionPatient, ImageOrientationPatient or PixelSpacing, so not a slice"
    set_aside = _grouped(reasons)
    if not placed:
        missing = "no ImagePositionPatient, ImageOrientationPatient or PixelSpacing; export the original images"
        return Selection(refusal=missing)
    if len(placed) > 1 and any(header.frames > 1 for header in placed):
        return Selection((), set_aside, "several files of which one or more are multi-frame; give each on its own")
    for header in slices:
        if header.pixel_trouble:
            which = "" if len(slices) == 1 else f" in {header.path.name}"
            return Selection((), set_aside, f"{header.pixel_trouble}{which}; fetch the images again")

    unlike = _unlike(placed)
    if unlike:
        return Selection((), set_aside, unlike)
    owners = [(header, frame) for header in placed for frame in range(header.frames)]
    planes = [plane for header in placed for plane in header.slices if plane is not None]
    groups = alike(planes)
    if placed[0].frames > 1 and len(groups) > 1:
        sizes = " and ".join(str(len(group)) for group in groups)
        return Selection(
            refusal=f"a multi-frame file with {len(groups)} stacks of different size, PixelSpacing or orientation "
            f"({sizes} frames); split it into one file a stack"
        )
    arrangement = arrange(planes, min_slices=min_slices)
    strays = {index for group in groups if is_stray(group, groups[0]) for index in group}
    if strays:
        others = [index for index in range(len(planes)) if index not in strays]
        without = arrange([planes[index] for index in others], min_slices=min_slices)
        # strays that leave a gap are slices with a wrong tag
        if isinstance(without, str) or without.straightening is None or without.straightening.planes <= len(others):
            arrangement = without
            planes, owners = [planes[index] for index in others], [owners[index] for index in others]
            kept = {header.path for header, _ in owners}
            set_aside = _grouped(reasons | {header.path: _STRAY for header in placed if header.path not in kept})
    if isinstance(arrangement, str):
        return Selection((), set_aside, arrangement)
    notes = list(arrangement.notes)
    try:
        differing = _differing(arrangement.duplicates, owners)
    except InputError as error:
        return Selection((), set_aside, str(error))
    if differing is not None:
        at_one_place = 1 + sum(kept == differing for _, kept in arrangement.duplicates)
        place = tuple(round(value, 2) for value in planes[differing].position_mm)
        what = "frames of a multi-frame file" if owners[differing][0].frames > 1 else "slices"
        return Selection(
            (), set_aside, f"{at_one_place} {what} with different pixels at one position {place}; split the series"
        )
    if arrangement.duplicates:
        notes.append(f"{len(arrangement.duplicates)} slices were there twice with the same pixels; one of each is used")
    notes += _tilt_notes(placed, arrangement)
    notes += dict.fromkeys(note for header in placed if (note := energy_note(header)))
    files = tuple(dict.fromkeys(owners[index][0].path for index in arrangement.order))
    return Selection(files, set_aside, "", tuple(notes), arrangement)


def read_series(
    files: Sequence[Path], *, modality: str = "CT", min_slices: int = 1, headers: Sequence[Header] = ()
) -> Volume:
    """Read the files of one series into HU.

    Args:
        files: the files, in any order.
        modality: DICOM Modality that is wanted.
        min_slices: the fewest slices that make a volume here.
        headers: of these files, where they are known; one whose file has changed since is read again.

    Returns:
        array (column, row, slice), int16 where HU are whole numbers that it holds, else float32, and the affine of
        DICOM's image planes, turned to RAS. A tilted or uneven series is resampled to an upright, regular grid, with a
        note for what was done; HU stay of the type that they had, rounded if int16.

    Raises:
        InputError: the files make no volume, or pixels can't be decoded.
    """
    source = files[0] if len(files) == 1 else files[0].parent
    known = {header.path: header for header in headers if unchanged(header)}
    found = [known.get(path) or _header_of(path) for path in files]
    if len({header.series_uid for header in found}) > 1:
        raise InputError(f"{source}: files of several series, or changed since they were found; run again")
    selection = select_slices(found, modality=modality, min_slices=min_slices)
    if selection.arrangement is None:
        raise InputError(f"{source}: {selection.refusal}")
    order = selection.arrangement.order
    first = next(header for header in found if header.path == selection.files[0])
    if first.frames > 1:
        slices = [SliceFile(first.path, {frame: place for place, frame in enumerate(order)})]
    else:
        slices = [SliceFile(path, {0: place}) for place, path in enumerate(selection.files)]
    stack_kji, stack_notes = decode_stack(slices, (len(order), first.rows, first.columns))
    for header in found:
        if not unchanged(header):
            raise InputError(f"{header.path}: changed while it was read; run again")
    straightening = selection.arrangement.straightening
    if straightening is not None:
        stack_kji = straighten(stack_kji, straightening, AIR_HU)
    notes = (
        *selection.notes,
        *(f"{len(paths)} files set aside: {reason}" for paths, reason in selection.set_aside),
        *stack_notes,
    )
    return Volume(stack_kji.transpose(2, 1, 0), LPS_TO_RAS @ selection.arrangement.affine_lps, "HU", notes)


def _header_of(path: Path) -> Header:
    try:
        header = read_header(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); fetch the file again") from error
    if header is None:
        raise InputError(f"{path}: not readable as DICOM; fetch the file again")
    return header


def not_a_slice(header: Header, modality: str) -> str:
    """Why a file can't be a slice of the wanted volume; "" when it can."""
    if header.modality and header.modality != modality:
        remedy = "; give a radiograph to an X-ray bundle" if header.modality in RADIOGRAPH_MODALITIES else ""
        kind = f" ({object_name(header.sop_class)})" if no_image(header) and object_name(header.sop_class) else ""
        return f"Modality {header.modality}{kind}, expected {modality}{remedy}"
    if modality == "CT" and no_ct(header) and header.samples_per_pixel == 1:
        return no_ct(header)
    looks_like_ct = header.sop_class in CT_SOP_CLASSES or (header.rescale_intercept or 0) < _HU_ONLY_INTERCEPT
    if not header.modality and not (modality == "CT" and looks_like_ct):
        return f"no Modality and nothing that shows it is {modality}; set Modality if it is"
    if not (header.rows and header.columns):
        return "no Rows or Columns, so no image"
    words = set(header.image_type)
    if words & _SCOUT_WORDS:
        return "localizer (scout), not a slice"
    if header.sop_class.startswith(SECONDARY_CAPTURE) or words & SCREEN_WORDS:
        return "secondary capture, not a slice"
    if header.samples_per_pixel != 1:
        return "colour picture (secondary capture), not a slice"
    if modality == "CT" and header.rescale_type not in _HU_TYPES:
        return f"RescaleType {header.rescale_type}, expected HU"
    return ""


def _unlike(slices: Sequence[Header]) -> str:
    """What keeps the values of slices from being those of one scan; "" when nothing does."""
    studies = len({header.study_uid for header in slices})
    if studies > 1:  # of several patients, perhaps, whose identifiers somebody made one
        return f"slices of {studies} studies with one SeriesInstanceUID; give each study alone"
    without = [header for header in slices if header.rescale_intercept is None]
    if 0 < len(without) < len(slices):
        return f"no usable RescaleIntercept in {without[0].path.name}, unlike in other slices; export the series again"
    photometric = sorted({header.photometric for header in slices} - {""})
    if len(photometric) > 1:
        return f"slices in {' and '.join(photometric)}; export the series again"
    return ""


def _grouped(reasons: Mapping[Path, str]) -> tuple[tuple[tuple[Path, ...], str], ...]:
    return tuple(
        (tuple(path for path in sorted(reasons) if reasons[path] == reason), reason)
        for reason in sorted(set(reasons.values()) - {""})
    )


def _tilt_notes(headers: Sequence[Header], arrangement: Arrangement) -> list[str]:
    """What is to be said where GantryDetectorTilt isn't what the positions show, which is what counts."""
    if len(arrangement.order) == 1:
        return []
    said = {abs(one.gantry_tilt_degrees) for one in headers if one.gantry_tilt_degrees is not None}
    wrong = [tilt for tilt in said if abs(tilt - arrangement.tilt_degrees) > _TAG_TILT_TOLERANCE_DEGREES]
    if not wrong:
        return []
    return [
        f"GantryDetectorTilt says {max(wrong):.1f}°, the slices' positions {arrangement.tilt_degrees:.1f}°: "
        "the positions are used"
    ]


def _differing(pairs: Sequence[tuple[int, int]], owners: Sequence[tuple[Header, int]]) -> int | None:
    """The kept slice of the first pair (dropped, kept) at one place whose pixels differ, or None."""
    for dropped, kept in pairs:
        if not _same_pixels(owners[dropped], owners[kept]):
            return kept
    return None


def _same_pixels(one: tuple[Header, int], other: tuple[Header, int]) -> bool:
    frames = []
    for header, wanted in (one, other):
        dataset = read_dataset(header.path)
        stored = next(pixels for frame, pixels in enumerate(stored_frames(dataset, header.path)) if frame == wanted)
        frames.append((stored, rescale_of(dataset, wanted if is_enhanced(dataset) else None)))
    return frames[0][1] == frames[1][1] and np.array_equal(frames[0][0], frames[1][0])
