"""What the tests of the encoders share."""

from collections.abc import Callable

import pytest


@pytest.fixture
def decoder_counts() -> Callable[[tuple[int, ...]], tuple[int, int]]:
    """Values, and trainable ones, of the U-Net decoder with its head over an encoder with the given channels."""

    def count(channels: tuple[int, ...]) -> tuple[int, int]:
        trainable, running, width = 9 * 16 + 1, 0, channels[-1]
        for filters, skip in zip((256, 128, 64, 32, 16), (*channels[-2::-1], 0), strict=True):
            trainable += 9 * filters * (width + skip) + 9 * filters * filters + 4 * filters
            running += 4 * filters
            width = filters
        return trainable + running, trainable

    return count
