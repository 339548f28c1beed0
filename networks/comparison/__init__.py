"""The networks that the papers compare theirs with, from their published descriptions, in 2D and 3D."""

from radseg.networks.comparison.deeplab_v3_plus import DeepLabV3Plus
from radseg.networks.comparison.fcn8s import FCN8s
from radseg.networks.comparison.segnet import SegNet
from radseg.networks.comparison.spine_gan import SpineGANDiscriminator, SpineGANGenerator
from radseg.networks.comparison.unets import UNet, UNetPlusPlus

__all__ = ["DeepLabV3Plus", "FCN8s", "SegNet", "SpineGANDiscriminator", "SpineGANGenerator", "UNet", "UNetPlusPlus"]
