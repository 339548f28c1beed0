"""The exposed film: bone is bright, noise follows the photons and the seed, every drawn exposure gives a picture."""

import numpy as np
import pytest
import torch

from radseg.transforms.radiography.film import Exposure, blurred, expose, sample_exposure

QUIET = Exposure(photons=1e12, scatter_fraction=0.0, blur_sigma_pixels=0.0, equalisation=0.0)


def steps() -> torch.Tensor:
    """Four bands of rising thickness."""
    return torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat_interleave(16).expand(32, 64)


def test_what_absorbs_more_is_brighter() -> None:
    film = expose(steps(), QUIET)
    assert film.dtype == np.uint8
    assert film.shape == (32, 64)
    assert film[0, ::16].tolist() == [0, 85, 170, 255]


def test_the_same_seed_gives_the_same_film() -> None:
    assert np.array_equal(expose(steps(), seed=5), expose(steps(), seed=5))
    assert not np.array_equal(expose(steps(), seed=5), expose(steps(), seed=6))


def test_fewer_photons_make_more_noise_and_thick_parts_the_most() -> None:
    def spread(photons: float) -> list[float]:
        film = expose(steps(), Exposure(photons=photons, scatter_fraction=0, blur_sigma_pixels=0, equalisation=0))
        return [float(film[:, place : place + 16].std()) for place in (16, 32)]

    few, many = spread(5e3), spread(5e5)
    assert few[0] > 3 * many[0]
    assert few[1] > few[0]


def test_scatter_takes_contrast_away() -> None:
    body = torch.full((64, 64), 3.0)
    body[24:40, 24:40] = 4.0
    body[:4] = 0.0  # air keeps the window of both alike

    def contrast(scatter: float) -> float:
        taken = Exposure(1e12, scatter, 0.1, 0.0, 0.0, (0.0, 100.0))
        film = expose(body, taken).astype(float)
        return float((film[32, 32] - film[32, 8]) / film[32, 32])

    assert contrast(0.5) < 0.8 * contrast(0.0)


def test_equalisation_evens_thick_and_thin_parts_and_keeps_detail() -> None:
    slope = torch.linspace(1, 5, 128).expand(128, 128).clone()
    slope[::8] += 0.2

    def detail(equalisation: float) -> float:
        film = expose(slope, Exposure(1e12, 0.0, 0.0, 0.0, equalisation, (0.0, 100.0))).astype(float)
        return float(film[64, 64] - film[65, 64])

    assert detail(0.8) > 1.5 * detail(0.0)


def test_every_drawn_exposure_is_different_and_usable() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_exposure(rng) for _ in range(20)]
    assert len(set(drawn)) == 20
    for taken in drawn:
        film = expose(steps(), taken, seed=rng)
        assert film.max() - film.min() > 100


def test_a_blur_keeps_a_constant_and_spreads_a_point() -> None:
    assert np.allclose(blurred(np.full((20, 30), 2.0), 3.0), 2.0)
    point = np.zeros((41, 41))
    point[20, 20] = 1
    spread = blurred(point, 2.0)
    assert abs(spread.sum() - 1) < 1e-6
    assert abs(spread[20, 22] / spread[20, 20] - np.exp(-0.5)) < 1e-9


def test_a_film_of_air_alone_is_still_a_picture() -> None:
    assert expose(torch.zeros(8, 8), QUIET).shape == (8, 8)


@pytest.mark.parametrize("wrong", [{"photons": 0}, {"scatter_fraction": 1.0}, {"window_percentiles": (5.0, 5.0)}])
def test_impossible_exposures_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        Exposure(**wrong)  # type: ignore[arg-type]


def test_values_that_are_no_integrals_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        expose(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match="finite"):
        expose(torch.zeros(3))
