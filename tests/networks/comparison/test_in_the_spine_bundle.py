"""Each network to compare with takes the place of the spine bundle's own by one override."""

from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import torch

from radseg.networks import comparison
from radseg.pipelines.segment import segment
from radseg.pipelines.train import train

IMAGE = Path(__file__).parents[3] / "sample_data" / "spine" / "imagesTr" / "spine06.nii.gz"
FEATURES: dict[str, Any] = {
    "SegNet": [4, 8, 8, 16, 16],
    "FCN8s": [8, 8, 8, 16, 16, 32],
    "DeepLabV3Plus": 4,
    "UNet": [4, 4, 8, 16, 32, 4],
    "UNetPlusPlus": [4, 4, 8, 16, 32, 4],
}


@pytest.mark.parametrize("network", FEATURES)
def test_a_slice_network_trains_an_epoch_and_segments(network: str, tmp_path: Path) -> None:
    small = {"spatial_dims": 2, "roi_size": [1, 32, 32], "spacing_mm": [4.0, 4.0, 4.0], "progress": False}
    target, features = f"radseg.networks.comparison.{network}", FEATURES[network]
    definition = {"_target_": target, "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "features": features}
    training = train("spine", output_dir=str(tmp_path / "run"), max_epochs=1, **small, network_def=definition)
    trained = torch.load(training.weights, weights_only=True)
    fresh = getattr(comparison, network)(2, 1, 3, features).state_dict()
    assert {key: value.shape for key, value in trained.items()} == {key: value.shape for key, value in fresh.items()}
    same = {"weights": str(training.weights), "network_def#_target_": target, "network_def#features": features, **small}
    assert segment("spine", IMAGE, tmp_path / "masks", **same).ok
    assert nib.load(tmp_path / "masks" / "spine06" / "mask.nii.gz").shape == nib.load(IMAGE).shape
