"""A mask as DICOM Segmentation (PS3.3 A.51) on the frames that it was made of."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from highdicom import PlanePositionSequence
from highdicom.seg import Segmentation, SegmentationTypeValues
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from radseg.pipelines.dicom_out.algorithm import MANUFACTURER, described, descriptions, made_by, version
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.identity import series_number
from radseg.pipelines.dicom_out.referenced import decimals, distinct_frames, regular_step_mm
from radseg.pipelines.dicom_out.source import SourceFrame, values_on_frames
from radseg.pipelines.dicom_out.stand_ins import position_of, refer_to_source, stand_ins
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.dicom.header import quiet_pydicom

MOST_PROBABLE = 255
"""MaximumFractionalValue: what stands for a probability of 1."""

_FIRST_SERIES_NUMBER = 1000


def segmentation(finding: Finding, kind: str = "binary") -> Segmentation:
    """The finding's mask, or its probabilities, as a Segmentation or Label Map Segmentation object.

    Frames lie where the source's do, those of a tilted or uneven series too, and each refers to its source frame. Only
    frames that aren't empty are there; if all are, there is one empty frame of each segment (of a label map: one) at
    the first source frame, since no object can be without frames. "binary" is packed to bits, the others are
    compressed by RLE. UIDs depend on the source, the bundle and its weights alone; the manufacturer's serial number is
    the weights' SHA-256, and nothing tells the machine.

    Args:
        finding: what to write.
        kind: "binary", "labelmap" (PS3.3 A.51.2, Supplement 243), or "fractional": probabilities, 255 for 1.

    Raises:
        ConfigError: an unknown kind, or "fractional" without probabilities.
        InputError: an image that nothing can refer to, or several multi-frame images.
    """
    if kind not in ("binary", "labelmap", "fractional"):
        raise ConfigError(f"segmentation {kind!r} isn't known; use binary, labelmap or fractional")
    if kind == "fractional" and finding.probability is None:
        raise ConfigError("a fractional segmentation needs probabilities; have them kept, or choose binary or labelmap")
    with quiet_pydicom():
        if kind == "fractional" and finding.probability is not None:
            frames, pixels = _filled_planes(finding, list(finding.probability))
            made = _object(finding, kind, frames, pixels)
            _put_probabilities(made, frames, pixels)
        else:
            frames, pixels = _filled_planes(finding, [finding.mask])
            made = _object(finding, kind, frames, pixels[:, 0])
        if kind != "binary":
            _compress(made)
        refer_to_source(made, finding.source)
        return Segmentation.from_dataset(made, copy=False)


def _filled_planes(
    finding: Finding, volumes: Sequence[npt.NDArray[np.uint8]]
) -> tuple[list[SourceFrame], npt.NDArray[np.uint8]]:
    """Frames where one of the volumes isn't empty, and its planes there (frames, volumes, rows, columns).

    If all are empty everywhere, the first frame and what isn't there.
    """
    frames = distinct_frames(finding.source)
    by_volume = [values_on_frames(volume, finding.affine_ras, frames) for volume in volumes]
    filled, stacks = [], []
    for frame, *planes in zip(frames, *by_volume, strict=True):
        if any(plane.any() for plane in planes):
            filled.append(frame)
            stacks.append(planes)
    return (filled, np.array(stacks)) if filled else ([frames[0]], np.zeros_like(np.array([planes])))


def _object(finding: Finding, kind: str, frames: Sequence[SourceFrame], pixels: npt.NDArray[np.uint8]) -> Segmentation:
    """All of the object; of a fractional one all but its pixels, which highdicom would take as floats only."""
    source, statistics = finding.source, finding.statistics
    rows, columns = pixels.shape[-2:]
    if kind == "fractional":
        rows = columns = 1
        pixels = np.asarray(pixels.any(axis=(2, 3)), np.uint8)[:, None, None, :]
    images = stand_ins(source, rows, columns)
    placed = not source.is_radiograph
    made = Segmentation(
        images,
        pixels,
        SegmentationTypeValues(kind.upper()),
        descriptions(finding),
        series_instance_uid=finding.uid(f"segmentation series {kind}"),
        series_number=series_number(images[0], _FIRST_SERIES_NUMBER),
        series_description=made_by(statistics),
        sop_instance_uid=finding.uid(f"segmentation {kind}"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=made_by(statistics),
        software_versions=version(statistics),
        device_serial_number=str(statistics.get("weights_sha256") or "none")[:64],
        fractional_type="PROBABILITY",
        max_fractional_value=MOST_PROBABLE,
        content_label="SEGMENTATION",
        content_description=described(statistics),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        plane_positions=[PlanePositionSequence("PATIENT", position_of(frame)) for frame in frames] if placed else None,
        omit_empty_frames=bool(pixels.any()),
        specific_character_set="ISO_IR 192",
    )
    organisation = finding.uid(f"segmentation dimensions {kind}")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    if placed:
        measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        step = regular_step_mm(distinct_frames(source))
        if step is None:
            measures.pop("SpacingBetweenSlices", None)
            made.pop("DimensionOrganizationType", None)
        else:
            measures.SpacingBetweenSlices = decimals([step])[0]
    if kind == "binary" and len(made.PixelData) % 2 == 0 and _packed_bytes(made) % 2:
        made.PixelData = made.PixelData[:-1] + b"\0"  # highdicom pads with "0"; PS3.5 8.1.1 wants 00H
    return made


def _put_probabilities(made: Segmentation, frames: Sequence[SourceFrame], pixels: npt.NDArray[np.uint8]) -> None:
    """Fills the frames of a fractional object with values (planes, segments, rows, columns)."""
    made.Rows, made.Columns = pixels.shape[-2:]
    made.SegmentsOverlap = "UNDEFINED" if pixels.shape[1] > 1 else "NO"
    at = {tuple(map(float, position_of(frame))): plane for plane, frame in enumerate(frames) if frame.plane is not None}
    stored = []
    for group in made.PerFrameFunctionalGroupsSequence:
        plane = at[tuple(map(float, group.PlanePositionSequence[0].ImagePositionPatient))] if at else 0
        both = (group, made.SharedFunctionalGroupsSequence[0])
        said = next(one for one in both if "SegmentIdentificationSequence" in one).SegmentIdentificationSequence[0]
        stored.append(pixels[plane, said.ReferencedSegmentNumber - 1].tobytes())
    made.PixelData = b"".join(stored)
    if len(made.PixelData) % 2:
        made.PixelData += b"\0"


def _compress(made: Segmentation) -> None:
    """RLE, which readers have without further libraries, by a named encoder: GDCM's ends the process on odd sizes."""
    made.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)


def _packed_bytes(made: Segmentation) -> int:
    return -(-int(made.NumberOfFrames) * int(made.Rows) * int(made.Columns) // 8)
