"""What an ImageNet encoder gets to see of a grey X-ray."""

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Invertd, Resized

from radseg.transforms.encoder_input import KERAS, NormaliseForEncoder, NormaliseForEncoderd

AFFINE = torch.diag(torch.tensor([0.2, 0.2, 1.0, 1.0], dtype=torch.float64))
LEVELS = torch.tensor([0.0, 100.0, 255.0]).reshape(1, 1, 3)

# get_preprocessing of segmentation_models 1.0.1 on grey 0, 100 and 255, recorded to four decimals
RECORDED = {
    "caffe": [[-103.939, -3.939, 151.061], [-116.779, -16.779, 138.221], [-123.68, -23.68, 131.32]],
    "tf": [[-1.0, -0.2157, 1.0]] * 3,
    "torch": [[-2.1179, -0.4054, 2.2489], [-2.0357, -0.2850, 2.4286], [-1.8044, -0.0615, 2.6400]],
    "unchanged": [[0.0, 100.0, 255.0]] * 3,
}


@pytest.mark.parametrize(
    ("encoder", "mode"),
    [
        ("vgg16", "caffe"),
        ("resnet50", "unchanged"),
        ("densenet121", "torch"),
        ("inceptionv3", "tf"),
        ("efficientnetb3", "torch"),
        ("mobilenetv2", "tf"),
    ],
)
def test_keras_encoders_get_what_segmentation_models_gives_them(encoder: str, mode: str) -> None:
    seen = NormaliseForEncoder(encoder)(LEVELS)
    torch.testing.assert_close(seen[:, 0], torch.tensor(RECORDED[mode]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("encoder", KERAS)
def test_torchvision_weights_get_the_mean_and_deviation_of_imagenet(encoder: str) -> None:
    seen = NormaliseForEncoder(encoder, padding="torch")(LEVELS)
    torch.testing.assert_close(seen[:, 0], torch.tensor(RECORDED["torch"]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 6, 5), (1, 6, 5, 1), (1, 6, 5, 4)])
def test_images_and_volumes_get_three_channels(shape: tuple[int, ...]) -> None:
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    seen = NormaliseForEncoder("inceptionv3")(image)
    assert seen.shape == (3, *shape[1:])
    assert seen.dtype == torch.float32
    for channel in seen:
        torch.testing.assert_close(channel * 127.5 + 127.5, image[0].float(), rtol=0, atol=1e-4)


def test_metadata_are_kept_and_the_input_is_not_changed() -> None:
    image = MetaTensor(LEVELS.clone(), affine=AFFINE, meta={"series": "a"})
    seen = NormaliseForEncoder()(image)
    assert isinstance(seen, MetaTensor)
    assert seen.meta["series"] == "a"
    assert torch.equal(seen.affine, AFFINE)
    assert torch.equal(image.as_tensor(), LEVELS)


def test_a_prediction_goes_back_to_the_size_the_image_had() -> None:
    preparation = Compose([Flipd("image", 0), Resized("image", (32, 32)), NormaliseForEncoderd("image")])
    data = preparation({"image": MetaTensor(torch.rand(1, 20, 30) * 255)})
    assert data["image"].shape == (3, 32, 32)
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1
    data["mask"] = MetaTensor(mask, meta=data["image"].meta, applied_operations=data["image"].applied_operations)
    back = Invertd("mask", preparation, "image", nearest_interp=True)(data)["mask"]
    assert back.shape == (1, 20, 30)
    assert back[:, :10].sum() == 0
    assert (back[:, 10:] == 1).all()


def test_missing_keys_are_refused_unless_allowed() -> None:
    with pytest.raises(KeyError):
        NormaliseForEncoderd(["image", "other"])({"image": LEVELS})
    out = NormaliseForEncoderd(["image", "other"], "vgg16", allow_missing_keys=True)({"image": LEVELS})
    assert out["image"].shape == (3, 1, 3)


def test_an_image_with_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one grey channel.*\(3, 4, 4\)"):
        NormaliseForEncoder()(torch.zeros(3, 4, 4))


@pytest.mark.parametrize("wrong", [{"encoder": "resnet18"}, {"padding": "same"}])
def test_unknown_names_are_refused_at_construction(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        NormaliseForEncoder(**wrong)
