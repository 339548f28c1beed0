"""Attributes of one frame of an enhanced multi-frame image, from its own or the shared functional groups.

DICOM PS3.3 C.7.6.16 (Multi-frame Functional Groups): a macro stands either once, for all frames, or in each frame.
"""

from collections.abc import Iterator
from typing import Any

from pydicom.sequence import Sequence


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
    for group in (*_items(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1], *_shared(dataset)):
        macro = _items(group, sequence)
        if macro and keyword in macro[0]:
            return macro[0].get(keyword)
    return None


def frames_told_of(dataset: Any) -> int:
    """How many frames have functional groups of their own; the others have the shared ones only."""
    return len(_items(dataset, "PerFrameFunctionalGroupsSequence"))


def values_of_frames(dataset: Any, sequence: str, keyword: str) -> Iterator[Any]:
    """An attribute's value for each frame that has groups of its own, or for the first of an image without those."""
    return (frame_attribute(dataset, frame, sequence, keyword) for frame in range(max(1, frames_told_of(dataset))))


def _shared(dataset: Any) -> Any:
    return _items(dataset, "SharedFunctionalGroupsSequence")


def _items(dataset: Any, keyword: str) -> Any:
    """A sequence's items; none where it is missing or, in a damaged file, is no sequence."""
    value = dataset.get(keyword)
    return value if isinstance(value, Sequence) else ()
