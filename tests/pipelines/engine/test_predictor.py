"""From a loaded image to a mask on its grid, whatever lies between."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.transforms import AsDiscreted, Compose, Invertd, Orientationd, Spacingd

from radseg.pipelines.engine import AutocastInferer, Predictor, pick_device
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import LoadCased, Volume


class _Threshold(torch.nn.Module):
    """Two logits: background, and anything above 0.5."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 - image, image - 0.5], 1)


def _predictor(postprocessing: Any = None) -> Predictor:
    preprocessing = Compose(
        [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", pixdim=[1.0] * 3, mode="bilinear")]
    )
    back = Compose([Invertd("pred", preprocessing, "image", nearest_interp=False), AsDiscreted("pred", argmax=True)])
    device = torch.device("cpu")
    return Predictor(LoadCased("image"), preprocessing, _Threshold(), SimpleInferer(), postprocessing or back, device)


def test_a_mask_comes_back_where_the_image_says() -> None:
    array = np.zeros((12, 20, 9), np.float32)
    array[2:8, 5:15, 3:6] = 1
    affine = np.array([[0, -2.0, 0, 7], [0, 0, 3.0, 1], [1.0, 0, 0, -4], [0, 0, 0, 1]])  # columns turned and flipped
    prediction = _predictor()(Volume(array, affine, "HU"))
    assert prediction.mask.dtype == np.uint8
    truth = array > 0
    dice = 2 * (prediction.mask[truth] == 1).sum() / (truth.sum() + prediction.mask.sum())
    assert dice > 0.9
    assert set(prediction.seconds) == {"preprocess", "network", "restore"}


def test_a_mask_of_another_shape_is_never_passed_on() -> None:
    image = Volume(np.random.default_rng(0).random((8, 8, 8), np.float32), np.diag([2.0, 2, 2, 1]), "HU")
    with pytest.raises(InputError, match="check postprocessing"):
        _predictor(AsDiscreted("pred", argmax=True))(image)


def test_autocast_computes_in_bfloat16_and_answers_in_float32() -> None:
    seen: list[torch.dtype] = []

    def network(image: torch.Tensor) -> torch.Tensor:
        result = torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3))
        seen.append(result.dtype)
        return result

    image = torch.rand(1, 1, 8, 8)
    assert AutocastInferer(SimpleInferer(), enabled=True)(image, network).dtype == torch.float32
    assert AutocastInferer(SimpleInferer(), enabled=False)(image, network).dtype == torch.float32
    assert seen == [torch.bfloat16, torch.float32]


def test_auto_takes_what_is_there_and_nothing_else_is_guessed() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ConfigError, match="'gpu' is not known"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            pick_device("cuda")
