"""The segmentation networks: torch only, any input size in, logits of the same size out."""

from radseg.networks.attention_unet import AttentionUNet
from radseg.networks.spine_fusion_net import SpineFusionNet

__all__ = ["AttentionUNet", "SpineFusionNet"]
