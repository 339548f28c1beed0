"""Random textures and scanner noise from integer random numbers, so that every machine draws the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]


def generator(seed: int) -> np.random.Generator:
    """Return the integer random generator of a seed."""
    return np.random.Generator(np.random.PCG64(seed))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between `low` and `high`, drawn as an integer of 16 bits."""
    return low + (high - low) * int(rng.integers(0, 65536)) / 65535


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int, int], sigma_voxels: tuple[float, float, float]
) -> FloatArray:
    """Return a nearly normal random field of mean 0 and standard deviation 1, smooth over `sigma_voxels`."""
    # The sum of four bytes is close enough to a normal number and is the same everywhere.
    draws = rng.integers(0, 256, size=(*shape, 4), dtype=np.uint8).sum(axis=-1, dtype=np.int64) - 510
    field = ndimage.gaussian_filter(draws.astype(np.float64), sigma_voxels, mode="wrap")
    field -= field.mean()
    return np.asarray(field / np.sqrt((field**2).mean()))


def to_hounsfield(image_hu: FloatArray, noise: FloatArray, noise_hu: float, step_hu: int) -> NDArray[np.int16]:
    """Add noise to a clean image and round to int16 in steps of `step_hu`.

    Args:
        image_hu: Clean image in HU.
        noise: Field of standard deviation 1, of the same shape.
        noise_hu: Standard deviation of the noise in soft tissue; outside the body, in clear air, there is none.
        step_hu: The image's values are multiples of this; a coarse step makes the files small.
    """
    amount = noise_hu * np.clip((image_hu + 1000) / 400, 0.0, 1.0)
    # Rounding to 1e-6 first lets values that lie on a rounding tie by construction fall alike on every machine.
    steps = np.rint(np.round((image_hu + amount * noise) / step_hu, 6))
    return np.asarray(np.clip(steps * step_hu, -1024, 3071), dtype=np.int16)
