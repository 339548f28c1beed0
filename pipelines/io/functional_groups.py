"""Attributes of one frame of an enhanced multi-frame image, from its own or the shared functional groups.

DICOM PS3.3 C.7.6.16 (Multi-frame Functional Groups): a macro stands either once, for all frames, or in each frame.
"""

from typing import Any


def is_enhanced(dataset: Any) -> bool:
    """Whether a pydicom dataset has functional groups, as enhanced multi-frame images do."""
    return "SharedFunctionalGroupsSequence" in dataset or "PerFrameFunctionalGroupsSequence" in dataset


def frame_attribute(dataset: Any, frame: int, sequence: str, keyword: str) -> Any:
    """The value of an attribute for a frame, or None.

    Args:
        dataset: pydicom dataset of the image.
        frame: frame index from 0.
        sequence: keyword of the macro's sequence, such as "PlanePositionSequence".
        keyword: keyword of the attribute inside it, such as "ImagePositionPatient".
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    own = per_frame[frame : frame + 1] if per_frame else ()
    for group in (*own, *(dataset.get("SharedFunctionalGroupsSequence") or ())):
        macro = group.get(sequence)
        if macro and keyword in macro[0]:
            return macro[0].get(keyword)
    return None
