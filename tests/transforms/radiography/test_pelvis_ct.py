"""A simulated CT of a pelvis: bones where their surfaces are, numbered vertebrae above, another one by each seed."""

import closed_surfaces
import numpy as np
import pytest

from radseg.transforms.radiography.pelvis_bones import PelvisBones, Surface
from radseg.transforms.radiography.pelvis_ct import pelvis_ct
from radseg.transforms.radiography.surface_voxels import voxels_inside


@pytest.fixture(scope="module")
def bones() -> PelvisBones:
    right, left = (Surface(*closed_surfaces.hip_bone(side)) for side in (1.0, -1.0))
    return PelvisBones(right, left, Surface(*closed_surfaces.sacrum()))


def test_bones_are_dense_where_their_surfaces_are_and_tissue_is_not(bones: PelvisBones) -> None:
    ct = pelvis_ct(bones, 3.0, np.random.default_rng(0))
    assert ct.hu.shape == ct.vertebrae.shape == ct.grid.shape
    assert (ct.hu.dtype, ct.vertebrae.dtype) == (np.int16, np.uint8)
    sacrum = voxels_inside(bones.sacrum.vertices_ras, bones.sacrum.faces, ct.grid).numpy()
    around = voxels_inside(*closed_surfaces.box((-60, 30, 0), (60, 60, 60)), ct.grid).numpy()
    assert np.median(ct.hu[sacrum]) > 60
    assert ct.hu[sacrum].max() > 350
    assert -200 < np.median(ct.hu[around]) < 100
    assert ct.hu[0, 0, -1] < -800


def test_vertebrae_are_numbered_from_below_and_hip_bones_are_none(bones: PelvisBones) -> None:
    ct = pelvis_ct(bones, 3.0, np.random.default_rng(1))
    heights = {number: np.argwhere(ct.vertebrae == number)[:, 2].mean() for number in (22, 23, 24)}
    assert sorted(np.unique(ct.vertebrae)) == [0, 22, 23, 24]
    assert heights[22] > heights[23] > heights[24]
    assert heights[24] * 3.0 + ct.grid.first_ras[2] > 60
    hip = voxels_inside(bones.right_hip.vertices_ras, bones.right_hip.faces, ct.grid).numpy()
    assert not ct.vertebrae[hip].any()


def test_without_the_spine_it_ends_below_it(bones: PelvisBones) -> None:
    whole = pelvis_ct(bones, 3.0, np.random.default_rng(2))
    below = pelvis_ct(bones, 3.0, np.random.default_rng(2), lumbar=False)
    layers = below.grid.shape[2]
    assert below.hu.shape == below.grid.shape
    assert not below.vertebrae.any()
    assert whole.vertebrae[..., layers].any()
    np.testing.assert_array_equal(below.hu, whole.hu[..., :layers])


def test_the_same_seed_gives_the_same_voxels_and_another_one_others(bones: PelvisBones) -> None:
    one, again, other = (pelvis_ct(bones, 4.0, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.hu, again.hu)
    assert one.hu.shape != other.hu.shape or not np.array_equal(one.hu, other.hu)


def test_what_has_no_socket_or_no_sacrum_is_refused(bones: PelvisBones) -> None:
    box = Surface(*closed_surfaces.box((-40, -1, -1), (40, 1, 1)))
    with pytest.raises(ValueError, match="no hip socket"):
        pelvis_ct(PelvisBones(box, box, box), 3.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="the sacrum has no vertices in its middle"):
        pelvis_ct(PelvisBones(bones.right_hip, bones.left_hip, box), 3.0, np.random.default_rng(0))
