"""Which slices are alike, which of them stand at one place, and which stray from the rest; no file is read here."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from radseg.pipelines.io.dicom.arrangement import SAME_DIRECTION, SAME_PLACE_MM, SAME_SPACING, Slice

_MOST_STRAYS = 2
_STRAY_SHARE = 3


def alike(planes: Sequence[Slice]) -> list[list[int]]:
    """Indices of the slices of one matrix, PixelSpacing and ImageOrientationPatient, the largest group first."""
    sizes = np.array([(plane.rows, plane.columns) for plane in planes])
    spacings = np.array([plane.pixel_spacing_mm for plane in planes], dtype=np.float64)
    directions = np.array([(*plane.row_direction, *plane.column_direction) for plane in planes], dtype=np.float64)
    groups: list[list[int]] = []
    left = np.arange(len(planes))
    while len(left):
        first = left[0]
        same = (
            (sizes[left] == sizes[first]).all(axis=1)
            & (abs(spacings[left] - spacings[first]).max(axis=1) <= SAME_SPACING * abs(spacings[first]).max())
            & (abs(directions[left] - directions[first]).max(axis=1) <= SAME_DIRECTION)
        )
        groups.append(left[same].tolist())
        left = left[~same]
    return sorted(groups, key=len, reverse=True)


def is_stray(group: Sequence[int], largest: Sequence[int]) -> bool:
    """Whether slices unlike the rest are too few beside it for a stack, as of a localizer that isn't marked as one."""
    return len(group) <= _MOST_STRAYS and len(largest) >= _STRAY_SHARE * len(group)


def places_of(planes: Sequence[Slice]) -> list[int]:
    """The number of each slice's place along the normal of the first; slices at one place have one number."""
    positions = np.array([plane.position_mm for plane in planes], dtype=np.float64)
    depth = positions @ np.cross(planes[0].row_direction, planes[0].column_direction)
    places = [0] * len(planes)
    order = np.argsort(depth, kind="stable").tolist()
    for before, index in pairwise(order):
        apart = np.linalg.norm(positions[index] - positions[before]) >= SAME_PLACE_MM
        places[index] = places[before] + int(apart)
    return places


def follow_each_other(planes: Sequence[Slice]) -> bool:
    """Whether slices lie one behind the other along their normal rather than side by side."""
    positions = np.array([plane.position_mm for plane in planes], dtype=np.float64)
    normal = np.cross(planes[0].row_direction, planes[0].column_direction)
    depth = positions @ normal
    whole = positions[depth.argmax()] - positions[depth.argmin()]
    aside = np.linalg.norm(positions - np.outer(depth, normal), axis=1)
    return bool(np.ptp(depth) >= np.ptp(aside) - SAME_PLACE_MM and np.linalg.norm(whole) >= SAME_PLACE_MM)
