"""What a detector makes of the rays: Beer–Lambert attenuation, scatter, quantum noise, blur and display values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_MARGIN = 1e-9
_SLOW = 0.1  # standard deviation of the slow variation, as a share of the image's longer side
_AIR = 0.3  # less attenuation than some 15 mm of water is no part of the patient


@dataclass(frozen=True)
class Exposure:
    """How an X-ray is taken and shown.

    Attributes:
        photons: detected a pixel where nothing is in the way; fewer make more noise.
        scatter_fraction: share of scattered photons in the mean signal behind the patient, 0 to less than 1.
        scatter_sigma: width (standard deviation) of the scatter's spread as a share of the image's longer side.
        blur_sigma_pixels: unsharpness of focal spot and detector.
        equalisation: share of the slow variation (over a fifth of the image) taken out before display, as digital X-ray
            systems do so that thick and thin parts are seen at once; 0 for a plain film.
        window_percentiles: of the logarithmic image behind the patient, shown as black and white.
        gamma: exponent of the display values; above 1 darkens soft tissue.
        contrast: steepness of the film's S-curve in the middle, 1 for none.
    """

    photons: float = 30_000.0
    scatter_fraction: float = 0.3
    scatter_sigma: float = 0.08
    blur_sigma_pixels: float = 0.5
    equalisation: float = 0.4
    window_percentiles: tuple[float, float] = (1.0, 99.5)
    gamma: float = 1.0
    contrast: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.window_percentiles
        if not (self.photons > 0 and 0 <= self.scatter_fraction < 1 and self.gamma > 0 and self.contrast >= 1):
            raise ValueError(f"photons and gamma are positive, scatter is in [0, 1), contrast at least 1; got {self}.")
        if not (self.scatter_sigma >= 0 and self.blur_sigma_pixels >= 0 and 0 <= self.equalisation <= 1):
            raise ValueError(f"widths aren't negative, equalisation is from 0 to 1; got {self}.")
        if not 0 <= low < high <= 100:
            raise ValueError(f"window_percentiles rise between 0 and 100; got {self}.")


def sample_exposure(rng: np.random.Generator) -> Exposure:
    """Draw how one X-ray is taken, over a range as wide as that between hospitals."""
    return Exposure(
        photons=float(math.exp(rng.uniform(math.log(4_000), math.log(120_000)))),
        scatter_fraction=float(rng.uniform(0.1, 0.5)),
        scatter_sigma=float(rng.uniform(0.04, 0.14)),
        blur_sigma_pixels=float(rng.uniform(0.3, 1.1)),
        equalisation=float(rng.uniform(0.2, 0.8)),
        window_percentiles=(float(rng.uniform(0.2, 4.0)), float(rng.uniform(98.5, 99.9))),
        gamma=float(rng.uniform(0.75, 1.4)),
        contrast=float(rng.uniform(1.0, 1.8)),
    )


def expose(
    line_integral: torch.Tensor | FloatArray, exposure: Exposure | None = None, *, seed: int | np.random.Generator = 0
) -> NDArray[np.uint8]:
    """Turn line integrals of attenuation into a radiograph: dark where rays pass, bright behind bone.

    Photons behind the patient are N exp(−∫μ dl) (Beer–Lambert); scatter is a wide blur of them, on top; quantum noise
    is normal with the variance of the expected count. Shown is the logarithm, equalised and windowed.

    Args:
        line_integral: (rows, columns), ∫μ dl, without unit.
        exposure: how it is taken; None for the default.
        seed: of the noise, or a generator.

    Returns:
        (rows, columns) uint8, computed in float64.

    Raises:
        ValueError: not two axes, or values that aren't finite.
    """
    taken = exposure or Exposure()
    thickness = np.asarray(torch.as_tensor(line_integral).detach().cpu().to(torch.float64))
    if thickness.ndim != 2 or not np.isfinite(thickness).all():
        raise ValueError(f"line integrals are finite numbers of rows × columns, got shape {thickness.shape}.")
    rng = np.random.default_rng(seed)
    primary = np.exp(-thickness)
    signal = blurred(primary, taken.blur_sigma_pixels)
    if taken.scatter_fraction:
        spread = blurred(primary, taken.scatter_sigma * max(primary.shape))
        # scatter arises in what absorbs, so open air beside the patient has hardly any
        scatter = spread * (1 - blurred(primary, taken.scatter_sigma * max(primary.shape) / 4))
        mean_scatter, mean_signal = float(scatter.mean()), float((signal * (1 - primary)).mean())
        wanted = taken.scatter_fraction / (1 - taken.scatter_fraction) * mean_signal
        signal = signal + scatter * (wanted / mean_scatter if mean_scatter > _MARGIN else 0.0)
    counts = taken.photons * signal
    counts = counts + np.sqrt(counts) * rng.standard_normal(counts.shape)
    density = -np.log(np.maximum(counts, 1.0) / taken.photons)
    density = density - taken.equalisation * blurred(density, _SLOW * max(density.shape))
    behind = thickness > _AIR
    low, high = np.percentile(density[behind] if behind.any() else density, taken.window_percentiles)
    shown = np.clip((density - low) / max(high - low, _MARGIN), 0.0, 1.0) ** taken.gamma
    return np.rint(255 * _s_curve(shown, taken.contrast)).astype(np.uint8)


def blurred(image: FloatArray, sigma_pixels: float) -> FloatArray:
    """Gaussian blur of (rows, columns), exact whatever the width; beyond the border nothing is counted."""
    if sigma_pixels <= 0:
        return image
    rows, columns = (_gaussian(length, sigma_pixels) for length in image.shape)
    return np.asarray(rows @ image @ columns.T)


def _gaussian(length: int, sigma: float) -> FloatArray:
    """(length, length), each row the weights that one blurred value gives to all."""
    apart = np.arange(length)[:, None] - np.arange(length)[None, :]
    weights = np.exp(-0.5 * (apart / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _s_curve(shown: FloatArray, contrast: float) -> FloatArray:
    """Values from 0 to 1 through a symmetric logistic curve whose ends stay where they are."""
    if contrast <= 1:
        return shown
    steepness = 4 * math.sqrt(contrast - 1)
    edge = 1 / (1 + math.exp(steepness / 2))
    return np.asarray((1 / (1 + np.exp(-steepness * (shown - 0.5))) - edge) / (1 - 2 * edge))
