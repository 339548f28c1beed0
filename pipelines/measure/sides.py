"""Which part of a mask lies on the patient's right and which on the left."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.transforms.slabs import count_labels, count_planes, foreground_box

RIGHT, LEFT = 1, 2
"""Values in a map of the two sides."""

_SMALLEST = 0.1  # of the whole; a smaller part is a speck, not a lung
_MOST_BEYOND = 0.15  # of a label's voxels may lie on the other one's side of the middle, as the front of a lung does

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sides:
    """The two lungs of a mask, or why they can't be told apart.

    Attributes:
        map: `RIGHT`, `LEFT` or 0 in each voxel; None with a `trouble`.
        method: how they were told apart.
        trouble: why they couldn't be, else "".
        warning: what to know before using the sides, else "".
    """

    map: Labels | None
    method: str = ""
    trouble: str = ""
    warning: str = ""


def two_sides(mask: Labels, affine_ras: npt.NDArray[np.float64]) -> Sides:
    """Tells right from left by where they lie in the patient.

    A mask of two values that lie apart from right to left is taken as labelled. In any other the two largest pieces
    (voxels that share a face) are the lungs and every smaller piece belongs to the nearer of them.

    Args:
        mask: labels, (i, j, k); anything above 0 counts.
        affine_ras: 4×4, voxel index → RAS in mm; of a radiograph, that of its display.
    """
    box = foreground_box(mask)
    if box is None:
        return Sides(None, trouble="the mask is empty")
    to_right = affine_ras[0, :3]
    inside = mask[box]
    values = np.flatnonzero(count_labels(inside, 0)[1:]) + 1
    sides = _labelled(inside, values.tolist(), to_right) if len(values) == 2 else None
    if sides is not None:
        right, left = sides
        of_inside = (inside == right) * np.uint8(RIGHT) + (inside == left) * np.uint8(LEFT)
        swapped = f"label {right} lies on the patient's right and {left} on the left; the image may be mirrored"
        return Sides(_whole(of_inside, mask.shape, box), "by label", warning=swapped if sides == (2, 1) else "")
    of_pieces = _by_pieces(inside > 0, to_right)
    if of_pieces is None:
        return Sides(None, trouble="the mask hasn't two pieces of comparable size")
    return Sides(_whole(of_pieces, mask.shape, box), "by connected pieces")


def _labelled(mask: Labels, values: list[int], to_right: npt.NDArray[np.float64]) -> tuple[int, int] | None:
    """The right and the left one of two values, if they are two lungs: both of some size, and beside each other."""
    across = int(np.abs(to_right).argmax())
    counts = np.array([count_planes(mask == value)[across] for value in values])[
        :, :: 1 if to_right[across] > 0 else -1
    ]
    if counts.sum(axis=1).min() < _SMALLEST * counts.sum():
        return None
    places = np.arange(counts.shape[1])
    centres = [float(np.average(places, weights=of_value)) for of_value in counts]
    right = int(np.argmax(centres))
    middle = sum(centres) / 2
    beyond = [counts[right][places < middle].sum(), counts[1 - right][places > middle].sum()]
    if (np.array(beyond) > _MOST_BEYOND * counts[[right, 1 - right]].sum(axis=1)).any():
        return None
    return values[right], values[1 - right]


def _by_pieces(lungs: npt.NDArray[np.bool_], to_right: npt.NDArray[np.float64]) -> Labels | None:
    """Right and left of a mask of two large pieces, None when there aren't two."""
    pieces, count = ndimage.label(lungs)
    sizes = np.bincount(pieces.ravel())[1:]
    if count < 2 or np.sort(sizes)[-2] < _SMALLEST * sizes.sum():
        return None
    place = np.array(ndimage.center_of_mass(lungs, pieces, range(1, count + 1))) @ to_right
    one, other = np.argsort(-sizes, kind="stable")[:2]
    right, left = (one, other) if place[one] > place[other] else (other, one)
    side = np.where(np.abs(place - place[right]) < np.abs(place - place[left]), RIGHT, LEFT)
    of_piece: Labels = np.concatenate(([0], side)).astype(np.uint8)
    return np.asarray(of_piece[pieces])


def _whole(inside: Labels, shape: tuple[int, ...], box: tuple[slice, ...]) -> Labels:
    whole = np.zeros(shape, np.uint8)
    whole[box] = inside
    return whole
