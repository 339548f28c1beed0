"""A grey image as an ImageNet encoder expects it: three equal channels, normalised as its weights were trained."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor


@dataclass(frozen=True)
class Normalisation:
    """Per channel, (grey − mean) / std for grey values of 0 to 255, in the order in which the encoder takes them."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# keras-applications 1.0.8, imagenet_utils.preprocess_input: its modes "caffe" (blue, green, red), "tf" and "torch"
CAFFE = Normalisation((103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
MINUS_ONE_TO_ONE = Normalisation((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
IMAGENET = Normalisation((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
UNCHANGED = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

KERAS = {
    "vgg16": CAFFE,
    "resnet50": UNCHANGED,  # its first layer is a batch norm
    "densenet121": IMAGENET,
    "inceptionv3": MINUS_ONE_TO_ONE,
    "efficientnetb3": IMAGENET,
    "mobilenetv2": MINUS_ONE_TO_ONE,
}


class NormaliseForEncoder(Transform):
    """Repeat a grey image to three channels and normalise them as the encoder's ImageNet weights expect.

    With "keras" that is what `get_preprocessing` of segmentation_models 1.0.1 does for the encoder; with "torch" it
    is torchvision's mean and standard deviation for all. It isn't traced as an applied operation: a prediction has
    other channels and values, so there is nothing of it to undo.

    Args:
        encoder: vgg16, resnet50, densenet121, inceptionv3, efficientnetb3 or mobilenetv2.
        padding: Whose weights the encoder holds, "keras" or "torch", as in `EncoderUNet`.

    Raises:
        ValueError: The encoder or the padding is unknown.
    """

    def __init__(self, encoder: str = "densenet121", padding: str = "keras") -> None:
        if encoder not in KERAS:
            raise ValueError(f"encoder must be one of {', '.join(sorted(KERAS))}, got {encoder!r}.")
        if padding not in ("keras", "torch"):
            raise ValueError(f"padding must be 'keras' or 'torch', got {padding!r}.")
        self.normalisation = IMAGENET if padding == "torch" else KERAS[encoder]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return (3, …), float32, of a grey image (1, …) with values from 0 to 255; metadata kept.

        Raises:
            ValueError: The image has another number of channels.
        """
        grey: torch.Tensor = convert_to_tensor(image, track_meta=get_track_meta())
        if grey.ndim < 2 or grey.shape[0] != 1:
            raise ValueError(f"NormaliseForEncoder takes one grey channel (1, ...), got shape {tuple(grey.shape)}.")
        values = (grey.as_tensor() if isinstance(grey, MetaTensor) else grey).to(torch.float32)
        per_channel = (3, *(1 for _ in values.shape[1:]))
        mean = values.new_tensor(self.normalisation.mean).reshape(per_channel)
        std = values.new_tensor(self.normalisation.std).reshape(per_channel)
        out: torch.Tensor = convert_to_dst_type((values - mean) / std, grey, dtype=torch.float32)[0]
        return out


class NormaliseForEncoderd(MapTransform):
    """Dictionary form of `NormaliseForEncoder`."""

    def __init__(
        self,
        keys: KeysCollection,
        encoder: str = "densenet121",
        padding: str = "keras",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.normalise = NormaliseForEncoder(encoder, padding)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the images at ``keys`` repeated and normalised."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.normalise(out[key])
        return out
