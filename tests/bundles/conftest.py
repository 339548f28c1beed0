"""Short trainings for the tests: narrow networks, small windows, the committed sample data."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from radseg.pipelines.train import Training, train

SHORT: dict[str, dict[str, Any]] = {
    "spine": {
        "network_def#features": [4, 8, 16, 32, 64],
        "roi_size": [32, 32, 32],
        "spacing_mm": [3.0, 3.0, 3.0],
        "learning_rate": 0.003,
    },
    "lung_ct": {
        "network_def#features": [4, 8, 16, 32],
        "image_size": 64,
        "learning_rate": 0.003,
        "amp": False,
    },
    "lung_xray": {"network_def#features": 4, "image_size": 64},
    "pelvis_xray": {"network_def#encoder": "mobilenetv2", "image_size": 64},
}


@dataclass(frozen=True)
class Run:
    """A finished training and what it left."""

    training: Training
    history: dict[str, Any]

    @property
    def weights_hash(self) -> str:
        """sha256 over the names and bytes of the last epoch's tensors."""
        digest = hashlib.sha256()
        state = torch.load(self.training.weights.with_name("last.pt"), weights_only=True)["network"]
        for name, value in sorted(state.items()):
            digest.update(name.encode())
            digest.update(value.numpy().tobytes())
        return digest.hexdigest()


@pytest.fixture(scope="session")
def short_training() -> Callable[..., Run]:
    """Trains a bundle for two epochs on the sample data unless told otherwise."""

    def run(bundle: str, output_dir: Path, **overrides: Any) -> Run:
        settings = {"output_dir": str(output_dir), "progress": False, "max_epochs": 2, **SHORT[bundle], **overrides}
        training = train(bundle, **settings)
        return Run(training, json.loads((output_dir / "history.json").read_text()))

    return run
