"""The vertebrae beside a fracture move as they are: turned and shifted, neither sheared nor stretched."""

import numpy as np
import pytest
from numbered_spine import HALF_DEPTH, NumberedSpine, cylinders

from radseg.transforms.vertebrae.axis import to_mm
from radseg.transforms.vertebrae.compression import KINDS, Compression, Kind
from radseg.transforms.vertebrae.squeeze import carry_labels, move, plan


def broken(kind: Kind, loss: float) -> tuple[NumberedSpine, Compression, np.ndarray]:
    """The fifth of nine cylinders compressed: what was there, how it moved, and the labels afterwards."""
    spine = cylinders(9)
    compression = plan(spine.labels, spine.affine, 105, kind, loss)
    moved = move(compression, spine.affine, spine.labels.shape)
    labels = spine.labels.copy()
    labels[moved.box] = carry_labels(labels[moved.box], moved, spine.affine)
    return spine, compression, labels


def body_points(spine: NumberedSpine, labels: np.ndarray, vertebra: int) -> np.ndarray:
    """The voxels of a vertebra's body, without its arch, RAS mm, (n, 3)."""
    index = np.argwhere(labels == vertebra)
    index = index[(index[:, 1] + 0.5) * 1.5 - 70 > -HALF_DEPTH]
    return to_mm(index.astype(float), spine.affine)


def taken_from(compression: Compression, points_mm: np.ndarray) -> np.ndarray:
    """Where points' values come from, RAS mm, (n, 3)."""
    local = compression.body.frame.local(points_mm).astype(np.float32)
    steps = np.stack(compression.taken_from((local[:, 0], local[:, 1], local[:, 2])), axis=1)
    return points_mm + steps @ compression.body.frame.axes


def deformed_mm(before: np.ndarray, after: np.ndarray) -> float:
    """How far points (n, 3) are, at worst, from where the best turn and shift would have them (Kabsch, 1976)."""
    old, new = before - before.mean(axis=0), after - after.mean(axis=0)
    u, _, v = np.linalg.svd(old.T @ new)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v
    return float(np.linalg.norm(old @ turn - new, axis=1).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [0.3, 0.6])
def test_all_other_vertebrae_keep_their_form(kind: Kind, loss: float) -> None:
    spine, compression, labels = broken(kind, loss)
    for vertebra in (102, 103, 104, 106, 107, 108):
        after = body_points(spine, labels, vertebra)
        assert deformed_mm(taken_from(compression, after), after) < 0.5


def test_a_crushed_body_s_loss_is_shared_out_among_the_discs() -> None:
    spine, _, labels = broken("crush", 0.5)
    discs = []
    for one in (spine.labels, labels):
        column = one[25, round(70 / 1.5)]
        tops = [np.flatnonzero(column == vertebra).max() for vertebra in (106, 107)]
        bottoms = [np.flatnonzero(column == vertebra).min() for vertebra in (107, 108)]
        discs.append([(bottom - top) * 1.5 for top, bottom in zip(tops, bottoms, strict=True)])
    for before, after in zip(*discs, strict=True):
        assert before <= after < 1.5 * before


def test_a_wedge_turns_each_vertebra_less_than_the_one_before_and_bends_the_rest_back() -> None:
    spine, compression, labels = broken("wedge", 0.6)
    tilts = []
    for vertebra in (106, 107, 108):
        after = body_points(spine, labels, vertebra)
        rises = np.polyfit(after[:, 1], (taken_from(compression, after) - after)[:, 2], 1)[0]
        tilts.append(float(np.degrees(np.arctan(rises))))
    assert tilts[0] > 5.0
    assert tilts[0] > tilts[1] > tilts[2]
    assert abs(tilts[2]) < tilts[0]
