"""MONAI Label's stand-ins on every path, and what Python itself says of two old modules that it imports."""

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

STAND_INS = Path(__file__).parents[3] / "pipelines" / "label_server" / "stand_ins"
SAMPLES = Path(__file__).parents[3] / "sample_data"

# test modules import MONAI Label while they are collected
if str(STAND_INS) not in sys.path:
    sys.path.insert(0, str(STAND_INS))

# of these Python 3.11 says that 3.13 goes without: passlib does too, MONAI Label's client needs one there
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    for name in ("crypt", "cgi"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


@pytest.fixture(scope="module", autouse=True)
def stand_ins() -> Iterator[Path]:
    """The stand-ins first on the path of processes that a test starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STAND_INS), prepend=os.pathsep)
        yield STAND_INS


@pytest.fixture(scope="session")
def spine_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the network that spine serves: random, but every label occurs in its masks."""
    import nibabel as nib
    import numpy as np
    import torch

    from radseg.networks import SpineFusionNet

    torch.manual_seed(1)
    network = SpineFusionNet(3, 1, 3, [16, 32, 64, 128, 256])
    for layer in network.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = 1.0  # what it has seen last; as they begin, its layers let nothing through
    hu = np.asarray(nib.load(SAMPLES / "spine" / "imagesTr" / "spine06.nii.gz").dataobj, np.float32)
    middle = tuple(slice(size // 2 - 24, size // 2 + 24) for size in hu.shape)
    seen = torch.from_numpy(hu[middle][None, None] + 200).clip(0, 1400) / 1400
    with torch.no_grad():
        logits = network(torch.nn.functional.interpolate(seen, (96, 96, 96), mode="trilinear"))
        network.decoder.classes.bias -= logits.mean((0, 2, 3, 4))
    file = tmp_path_factory.mktemp("spine") / "model.pt"
    torch.save(network.state_dict(), file)
    return file
