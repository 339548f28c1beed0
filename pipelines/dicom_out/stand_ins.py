"""The source as highdicom takes it, where real headers lack or break what it reads, and the way back to them."""

from collections.abc import Sequence
from typing import Any

from highdicom.seg import Segmentation
from pydicom.dataset import Dataset

from radseg.pipelines.dicom_out.identity import identity_of
from radseg.pipelines.dicom_out.referenced import decimals, distinct_frames, instance_uid, regular_step_mm, sop_class
from radseg.pipelines.dicom_out.source import Source, SourceFrame
from radseg.pipelines.errors import InputError

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"
_DX_IMAGE = "1.2.840.10008.5.1.4.1.1.1.1"


def stand_ins(source: Source, rows: int, columns: int) -> list[Dataset]:
    """An image a frame, or one multi-frame image, that says who, where and how large, of a SOP class like the source's.

    Raises:
        InputError: an image that nothing can refer to, or several multi-frame images.
    """
    frames = distinct_frames(source)
    image = identity_of(source)
    image.Rows, image.Columns = rows, columns
    image.Modality = str(source.headers[0].get("Modality") or "OT")
    if source.is_multi_frame:
        return [_multi_frame(image, source, frames)]
    if source.is_radiograph:
        image.SOPClassUID, image.SOPInstanceUID = _DX_IMAGE, instance_uid(source, 0)
        return [image]
    image.SOPClassUID = _CT_IMAGE
    image.update(_measures(frames))
    image.update(_orientation(frames))
    files = {path: number for number, path in enumerate(source.paths)}
    images = []
    for frame in frames:
        one = Dataset()
        one.update(image)
        one.SOPInstanceUID = instance_uid(source, files[frame.path])
        one.ImagePositionPatient = position_of(frame)
        images.append(one)
    return images


def refer_to_source(made: Segmentation, source: Source) -> None:
    """Puts in the source's own SOP classes and frame numbers, and a radiograph's orientation."""
    classes = {instance_uid(source, file): sop_class(source, file) for file in range(len(source.headers))}
    frames = distinct_frames(source)
    for image in (*made.SourceImageSequence, *(made.ReferencedSeriesSequence[0].ReferencedInstanceSequence)):
        image.ReferencedSOPClassUID = classes[image.ReferencedSOPInstanceUID]
    referring = [
        group.DerivationImageSequence[0].SourceImageSequence[0] for group in made.PerFrameFunctionalGroupsSequence
    ]
    for image in {id(image): image for image in referring}.values():  # segments share the items of a plane
        image.ReferencedSOPClassUID = classes[image.ReferencedSOPInstanceUID]
        if source.is_multi_frame:
            image.ReferencedFrameNumber = frames[int(image.ReferencedFrameNumber) - 1].number + 1
    if source.is_radiograph:
        made.PatientOrientation = identity_of(source).get("PatientOrientation") or ""


def position_of(frame: SourceFrame) -> list[Any]:
    """ImagePositionPatient of a frame that has a place."""
    assert frame.plane is not None
    return decimals(frame.plane.position_mm)


def _multi_frame(image: Dataset, source: Source, frames: Sequence[SourceFrame]) -> Dataset:
    if len(source.headers) > 1:
        raise InputError(f"{frames[0].path.parent}: several multi-frame images in one case; segment each by itself")
    image.SOPClassUID, image.SOPInstanceUID = _ENHANCED_CT_IMAGE, instance_uid(source, 0)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_measures(frames)]
    shared.PlaneOrientationSequence = [_orientation(frames)]
    image.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for frame in frames:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = position_of(frame)
        group.PlanePositionSequence = [place]
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = groups
    image.NumberOfFrames = len(frames)
    return image


def _measures(frames: Sequence[SourceFrame]) -> Dataset:
    """Pixel Measures (PS3.3 C.7.6.16.2.1), the distance of slices by where they lie, not by what tags say."""
    plane = frames[0].plane
    assert plane is not None
    step = regular_step_mm(frames)
    measures = Dataset()
    measures.PixelSpacing = decimals(plane.pixel_spacing_mm)
    measures.SliceThickness = decimals([plane.thickness_mm or step or 1.0])[0]
    if step is not None:
        measures.SpacingBetweenSlices = decimals([step])[0]
    return measures


def _orientation(frames: Sequence[SourceFrame]) -> Dataset:
    plane = frames[0].plane
    assert plane is not None
    orientation = Dataset()
    orientation.ImageOrientationPatient = decimals([*plane.row_direction, *plane.column_direction])
    return orientation
