"""The segmentation networks: torch and one encoder of MONAI's; any input size in, logits of the same size out."""

from radseg.networks.attention_unet import AttentionUNet
from radseg.networks.encoder_unet import EncoderUNet
from radseg.networks.lung_deeplab import LungDeepLab
from radseg.networks.lung_fcnn import LungFCNN
from radseg.networks.lung_unet import LungUNet
from radseg.networks.spine_fusion_net import SpineFusionNet

__all__ = ["AttentionUNet", "EncoderUNet", "LungDeepLab", "LungFCNN", "LungUNet", "SpineFusionNet"]
