"""A coarse CT shows the same patient at the same place, whatever the order of the voxels."""

import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation

from radseg.pipelines.engine.locate.coarse import coarse
from radseg.pipelines.io import Volume


def world_ramp(affine: np.ndarray, shape: tuple[int, int, int], dtype: type = np.float32) -> Volume:
    """HU that say where a voxel is: 2 R + 3 A + 5 S mm."""
    at = np.stack(np.indices(shape), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    return Volume((at @ [2.0, 3.0, 5.0]).astype(dtype), affine, "HU")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "ASL"])
@pytest.mark.parametrize("factor", [1.0, 2.0, 3.0, 4.0, 7.0])
def test_cells_hold_the_mean_of_their_place(codes: str, factor: float) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0]) @ inv_ornt_aff(axcodes2ornt(codes), (84, 84, 84))
    volume = world_ramp(affine, (84, 84, 84))
    scan = coarse(volume, factor)
    at = np.stack(np.indices(scan.hu.shape), axis=-1) @ scan.affine_ras[:3, :3].T + scan.affine_ras[:3, 3]
    np.testing.assert_allclose(scan.hu, np.maximum(at @ [2.0, 3.0, 5.0], -1024), atol=1e-2)
    np.testing.assert_allclose(io_orientation(scan.affine_ras), [[0, 1], [1, 1], [2, 1]])
    assert scan.spacing_mm == pytest.approx((factor, factor, factor))


def test_cells_at_the_far_end_are_there_even_when_they_are_cut() -> None:
    for length in range(20, 33):
        volume = Volume(np.full((length, length, 5), -1000, dtype=np.int16), np.eye(4), "HU")
        volume.array[-1] = 50
        scan = coarse(volume, 8.0)
        assert scan.hu.shape == (-(-length // 8), -(-length // 8), 1)
        if length % 8 == 1:
            assert (scan.hu[-1] == 50).all()
        assert scan.hu.dtype == np.float32
        assert np.isfinite(scan.hu).all()


def test_thick_slices_keep_their_own_spacing_and_padding_is_air() -> None:
    volume = Volume(np.full((8, 8, 3), -3024, dtype=np.float32), np.diag([1.0, 1.0, 10.0, 1.0]), "HU")
    scan = coarse(volume, 4.0)
    assert scan.spacing_mm == (4.0, 4.0, 10.0)
    assert (scan.hu == -1024).all()
