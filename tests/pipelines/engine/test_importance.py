"""How much the voxels of a window count."""

import pytest
import torch
from monai.data.utils import compute_importance_map

from radseg.pipelines.engine.importance import gaussian_importance

CPU = torch.device("cpu")


@pytest.mark.parametrize("window", [(1,), (7, 8), (96, 96, 96), (1, 33, 64), (3, 2, 5)], ids=str)
def test_the_weights_are_monais_bit_for_bit(window: tuple[int, ...]) -> None:
    assert torch.equal(gaussian_importance(window, CPU), compute_importance_map(window, mode="gaussian"))


def test_corners_of_a_large_window_still_count_a_little() -> None:
    assert gaussian_importance((64, 64, 64), CPU).min() == pytest.approx(1e-3)


def test_weights_are_made_once_and_serve_in_and_out_of_inference_mode() -> None:
    with torch.inference_mode():
        made = gaussian_importance((5, 9), CPU)
    assert gaussian_importance((5, 9), CPU) is made
    assert not made.is_inference()
