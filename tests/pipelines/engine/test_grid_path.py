"""The way back as it is read from an image: the same voxels as its transforms' own inverses."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flip, Orientation, Pad, Resize, ScaleIntensity, Spacing

from radseg.pipelines.engine.grid_path import GridPath, grid_path
from radseg.transforms import ResampleToSpacing, ResizeSlices

SLANTED = np.array([[0, -2.0, 0.1, 7], [0.2, 0, 3.0, 1], [1.0, 0.1, 0, -4], [0, 0, 0, 1]])


def image(shape: tuple[int, ...] = (15, 24, 19)) -> MetaTensor:
    values = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    return MetaTensor(values, affine=torch.from_numpy(SLANTED))


def brought_back(path: GridPath, values: torch.Tensor) -> torch.Tensor:
    for axis, along in enumerate(path.axes):
        values = along.along(axis, values, 0, 0, along.source_size)
    source = np.empty(path.source_shape, np.float32)
    path.as_network_sees(source)[...] = values.numpy()
    return torch.from_numpy(source)


WAYS: dict[str, list[Any]] = {
    "turned": [Orientation("PLS", labels=None)],
    "turned twice": [Orientation("PLS", labels=None), Orientation("RAS", labels=None)],
    "resampled": [ResampleToSpacing(1.5)],
    "resampled to coarser": [ResampleToSpacing(4.0)],
    "nearest": [Orientation("SRA", labels=None), ResampleToSpacing((1.4, 2, 1), mode="nearest")],
    "slices enlarged": [Orientation("LAI", labels=None), ResizeSlices((40, 50))],
    "slices shrunk": [ResizeSlices((9, 50)), Orientation("IAR", labels=None)],
    "slices nearest": [ResizeSlices((9, 50), mode="nearest")],
    "MONAI's resize": [Orientation("PLS", labels=None), Resize((32, 32, -1), mode="trilinear")],
    "corners on corners": [Resize((7, 32, 40), mode="trilinear", align_corners=True), Orientation("LPS", labels=None)],
    "areas": [Resize((32, 10, 19), mode="area")],
    "nearest-exact": [Resize((32, 10, 19), mode="nearest-exact")],
    "mirrored between regrids": [ResizeSlices((9, 50)), Orientation("LIP", labels=None), ResampleToSpacing(1.1)],
    "grey values": [ScaleIntensity(), ResampleToSpacing(1.5)],
}


@pytest.mark.parametrize("steps", WAYS.values(), ids=WAYS.keys())
def test_it_is_what_the_transforms_inverse_does(steps: list[Any]) -> None:
    transform = Compose(steps)
    there = transform(image())
    path = grid_path(there)
    assert path is not None
    ours = brought_back(path, there.as_tensor()[0])
    theirs = transform.inverse(there.clone())
    assert path.source_shape == (15, 24, 19)
    torch.testing.assert_close(ours, theirs.as_tensor()[0], rtol=0, atol=2e-6)
    torch.testing.assert_close(path.affine, torch.from_numpy(SLANTED), rtol=0, atol=1e-9)


def test_reading_it_leaves_the_image_as_it_is() -> None:
    there = Compose(WAYS["resampled"])(image())
    grid_path(there)
    assert len(there.applied_operations) == 1


def test_an_image_to_which_nothing_was_done_is_there_already() -> None:
    path = grid_path(image())
    assert path is not None
    assert torch.equal(brought_back(path, image().as_tensor()[0]), image().as_tensor()[0])
    assert not any(path.flipped)


def test_one_other_step_among_known_ones_is_enough() -> None:
    steps = [Orientation("PLS", labels=None), Flip(0), ResampleToSpacing(1.5)]
    assert grid_path(Compose(steps)(image())) is None


def test_an_axis_of_the_same_size_is_not_interpolated() -> None:
    path = grid_path(Compose(WAYS["MONAI's resize"])(image()))
    assert path is not None
    assert [axis.weights is None for axis in path.axes] == [False, False, True]


OTHERS: dict[str, Any] = {
    "moved through the world": Spacing((1.5, 1.5, 1.5), mode="bilinear"),
    "mirrored": Flip(0),
    "padded": Pad([(0, 0), (1, 1), (0, 0), (0, 0)]),
    "of a whole-numbered type": Resize((20, 20, 20), mode="nearest", dtype=torch.uint8),
    "not done yet": Orientation("PLS", labels=None, lazy=True),
}


@pytest.mark.parametrize("step", OTHERS.values(), ids=OTHERS.keys())
def test_any_other_way_is_not_guessed(step: Any) -> None:
    assert grid_path(step(image())) is None


def test_a_flat_image_has_no_such_way() -> None:
    assert grid_path(ResampleToSpacing(0.5)(MetaTensor(torch.rand(1, 8, 9), affine=torch.eye(4)))) is None
