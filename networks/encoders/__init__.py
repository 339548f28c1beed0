"""The six ImageNet encoders, one a file, each giving features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image."""

from radseg.networks.encoders.densenet121 import DenseNet121
from radseg.networks.encoders.efficientnetb3 import EfficientNetB3
from radseg.networks.encoders.inceptionv3 import InceptionV3
from radseg.networks.encoders.mobilenetv2 import MobileNetV2
from radseg.networks.encoders.resnet50 import ResNet50
from radseg.networks.encoders.vgg16 import VGG16

Encoder = InceptionV3 | VGG16 | ResNet50 | DenseNet121 | EfficientNetB3 | MobileNetV2

ENCODERS: dict[str, type[Encoder]] = {
    "inceptionv3": InceptionV3,
    "vgg16": VGG16,
    "resnet50": ResNet50,
    "densenet121": DenseNet121,
    "efficientnetb3": EfficientNetB3,
    "mobilenetv2": MobileNetV2,
}

__all__ = [
    "ENCODERS",
    "VGG16",
    "DenseNet121",
    "EfficientNetB3",
    "Encoder",
    "InceptionV3",
    "MobileNetV2",
    "ResNet50",
]
