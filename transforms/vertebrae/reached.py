"""The loss of height that a compression's label map shows, measured, and the compression that reaches the one asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from radseg.transforms.vertebrae.axis import Box, FloatArray, LabelArray, Placed, boxes_of, neighbours, place, to_mm
from radseg.transforms.vertebrae.compression import GENANT_LOSS, Compression, Kind
from radseg.transforms.vertebrae.endplates import Heights, find_body
from radseg.transforms.vertebrae.squeeze import carry_labels, move

_NEAR_ENOUGH = 0.015
_FARTHEST = 0.03
_TRIES = 6
# the CT, finer than whole voxels, shows the loss applied; what it is off by counts less than what the labels are
_CT_SHARE = 0.5
_MOST_APPLIED = 0.66
_MARGIN_MM = 8.0


def loss_between(before: Heights, after: Heights, kind: Kind) -> float:
    """The share lost of the anterior (wedge), middle (biconcave) or all heights (crush)."""
    if kind == "wedge":
        return 1 - after.anterior_mm / before.anterior_mm
    if kind == "biconcave":
        return 1 - after.middle_mm / before.middle_mm
    return 1 - float(sum(vars(after).values()) / sum(vars(before).values()))


def as_asked(compression: Compression, labels: LabelArray, affine: FloatArray, vertebra: int) -> Compression:
    """The compression whose label map, measured after it is carried out, has lost the share of the height asked for.

    Smooth surfaces fitted to the endplates of a body a few voxels high miss its heights by a part of a voxel, and the
    voxels of a label map take whole steps. So the loss that is applied is corrected by what was missed.

    Args:
        compression: with the loss asked for.
        labels: one number per vertebra, (i, j, k), before.
        affine: voxel to RAS mm, (4, 4).
        vertebra: what is compressed.

    Raises:
        ValueError: the voxels are too coarse for the loss: another grade would result, by more than 3 % of the height.
    """
    beside = neighbours(*place(labels, affine, vertebra))
    around = _around(labels, affine, vertebra)
    alone = np.where(labels[around] == vertebra, labels[around], 0)
    here = affine.copy()
    here[:3, 3] = to_mm(np.array([float(part.start) for part in around]), affine)
    before = _heights(alone, here, vertebra, *beside)
    asked = compression.loss
    low, high = max((one for one in GENANT_LOSS.values() if one[0] <= asked), default=(0.0, GENANT_LOSS[1][0]))
    too_little, too_much, tried = 0.0, _MOST_APPLIED, asked
    reached: list[tuple[bool, float, Compression]] = []
    for _ in range(_TRIES):
        candidate = replace(compression, loss=tried)
        if not candidate.has_room:
            break
        found = loss_between(
            before, _heights(_carried(candidate, alone, here), here, vertebra, *beside), compression.kind
        )
        reached.append((not low <= found < high, found - asked, candidate))
        if abs(found - asked) < _NEAR_ENOUGH:
            break
        too_little, too_much = (tried, too_much) if found < asked else (too_little, tried)
        # what was missed is added while that stays between what was too little and too much, else their middle
        tried += asked - found
        if not too_little < tried < too_much:
            tried = (too_little + too_much) / 2
    wrong, off, best = min(reached, key=lambda one: (one[0], abs(one[1]) + _CT_SHARE * abs(one[2].loss - asked)))
    if wrong and abs(off) > _FARTHEST:
        raise ValueError(
            f"vertebra {vertebra} would lose {asked + off:.0%} of its height instead of {asked:.0%}; "
            "its voxels are too coarse."
        )
    return best


def _heights(
    labels: LabelArray, affine: FloatArray, vertebra: int, below: Placed | None, above: Placed | None
) -> Heights:
    """What a map of the vertebra alone shows, its neighbours lying elsewhere."""
    return find_body(labels, affine, place(labels, affine, vertebra)[0], below, above).heights


def _carried(compression: Compression, labels: LabelArray, affine: FloatArray) -> LabelArray:
    moved = move(compression, affine, labels.shape)
    carried = labels.copy()
    carried[moved.box] = carry_labels(labels[moved.box], moved, affine)
    return carried


def _around(labels: LabelArray, affine: FloatArray, vertebra: int) -> Box:
    """The voxels of a vertebra and a few more."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    more = np.ceil(_MARGIN_MM / spacing).astype(int)
    a, b, c = (
        slice(max(part.start - int(extra), 0), min(part.stop + int(extra), size))
        for part, extra, size in zip(boxes_of(labels)[vertebra], more, labels.shape, strict=True)
    )
    return a, b, c
