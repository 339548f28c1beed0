"""Random shapes: smooth, of the width asked for, the same for the same seed."""

import numpy as np
import pytest

from radseg.transforms.vertebrae.random_shapes import field, spread, tube, tube_distance

SPACING = np.array([2.0, 1.0, 1.5], np.float32)
SHAPE = (40, 80, 56)


def test_a_field_is_smooth_and_as_wavy_as_asked() -> None:
    def roughness(wave_mm: float) -> float:
        hills = field(np.random.default_rng(0), SPACING * SHAPE, wave_mm)
        return float(np.mean([np.abs(np.diff(hills, axis=axis)).mean() for axis in range(3)]) / hills.std())

    assert roughness(30.0) > 1.5 * roughness(60.0)


def test_a_field_is_spread_over_the_grid_of_the_image() -> None:
    coarse = np.linspace(0, 1, 5, dtype=np.float32)[:, None, None] * np.ones((5, 3, 3), np.float32)
    fine = spread(coarse, SHAPE)
    assert fine.shape == SHAPE
    np.testing.assert_allclose(fine[:, 7, 9], np.linspace(0, 1, SHAPE[0]), atol=1e-6)


@pytest.mark.parametrize("radius_mm", [4.0, 8.0])
def test_a_tube_has_its_radius(radius_mm: float) -> None:
    volumes = []
    for seed in range(12):
        far = tube_distance(np.random.default_rng(seed), SHAPE, SPACING, 70.0)
        assert far.min() >= 0
        # of a straight tube, what lies within half the radius is a quarter of it
        volumes.append([(far < 0.5 * radius_mm).sum(), (far < radius_mm).sum()])
        filled = tube(np.random.default_rng(seed), SHAPE, SPACING, 70.0, radius_mm)
        np.testing.assert_array_equal(filled == 1, far <= radius_mm - 0.5)
        np.testing.assert_array_equal(filled == 0, far >= radius_mm + 0.5)
    inner, whole = np.sum(volumes, axis=0)
    assert inner / whole == pytest.approx(0.25, abs=0.08)
