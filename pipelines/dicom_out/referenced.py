"""The source's images and frames as objects derived from them refer to them, whatever their headers lack."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pydicom.valuerep import DS

from radseg.pipelines.dicom_out.source import Source, SourceFrame
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.arrangement import SAME_PLACE_MM

_CLASS_OF_MODALITY = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
}
_STEP_TOLERANCE_MM = 0.01


def distinct_frames(source: Source) -> tuple[SourceFrame, ...]:
    """The frames but those that lie where an earlier one does: copies of it."""
    kept: list[SourceFrame] = []
    for frame in source.frames:
        if kept and frame.plane is not None and kept[-1].plane is not None:
            apart = np.subtract(frame.plane.position_mm, kept[-1].plane.position_mm)
            if np.linalg.norm(apart) < SAME_PLACE_MM:
                continue
        kept.append(frame)
    return tuple(kept)


def instance_uid(source: Source, file: int) -> str:
    """SOPInstanceUID of one of the source's headers.

    Raises:
        InputError: it has none, so nothing can refer to it.
    """
    header = source.headers[file]
    uid = header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID")
    if not uid or not is_uid(str(uid)):
        raise InputError(
            f"{source.paths[file]}: no valid SOPInstanceUID to refer to; export the original images for DICOM output"
        )
    return str(uid)


def sop_class(source: Source, file: int) -> str:
    """SOPClassUID of one of the source's headers; of one without it, that of its Modality's images."""
    header = source.headers[file]
    uid = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    return str(uid or _CLASS_OF_MODALITY.get(str(header.get("Modality")), _CLASS_OF_MODALITY["CT"]))


def regular_step_mm(frames: Sequence[SourceFrame]) -> float | None:
    """The one distance between neighbours along the normal, None where there isn't one or the stack is tilted."""
    planes = [frame.plane for frame in frames if frame.plane is not None]
    if len(planes) < 2:
        return planes[0].thickness_mm or None if planes else None
    steps = np.array([np.subtract(after.position_mm, before.position_mm) for before, after in pairwise(planes)])
    normal = np.cross(planes[0].row_direction, planes[0].column_direction)
    upright = abs(np.linalg.norm(steps, axis=1) - abs(steps @ normal)).max() < _STEP_TOLERANCE_MM
    lengths = abs(steps @ normal)
    return float(lengths.mean()) if upright and np.ptp(lengths) < _STEP_TOLERANCE_MM else None


def decimals(values: Sequence[float]) -> list[DS]:
    """Numbers as DICOM's decimal strings of at most 16 characters (PS3.5 6.2)."""
    return [DS(float(value), auto_format=True) for value in values]


def is_uid(uid: str) -> bool:
    """Whether it has the characters and length of a UID: one with a leading zero names its object all the same."""
    return re.fullmatch(r"[0-9.]{1,64}", uid) is not None
