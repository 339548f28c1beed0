"""Small networks of all four bundles whose logits vary, and a folder of their own for conversions."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from radseg.networks import AttentionUNet, EncoderUNet, LungUNet, SpineFusionNet
from radseg.networks.spine_attention import ResidualBorderRefinement
from radseg.pipelines.engine.runtime import RuntimeNetwork

NARROW = (4, 8, 16, 32, 64)
# The share that the windows have in the batch norms' statistics. With all of it, deep networks that were never trained
# amplify a rounding error a thousandfold; with little, their logits hardly vary. Trained ones do neither.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "spine": (lambda: SpineFusionNet(3, 1, 3, NARROW), (2, 1, 32, 16, 32), 0.9),
    "spine-2d": (lambda: SpineFusionNet(2, 1, 3, NARROW), (3, 1, 33, 48), 0.9),
    "lung-ct": (lambda: AttentionUNet(features=NARROW[:4]), (3, 1, 32, 48), 1.0),
    "lung-xray": (lambda: LungUNet(features=4), (2, 1, 33, 41), 1.0),
    "pelvis-xray": (lambda: EncoderUNet("mobilenetv2"), (4, 3, 64, 96), 0.9),
    "shallow": (lambda: AttentionUNet(features=(2, 4)), (3, 1, 32, 48), 1.0),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of this test's own: nothing is kept in the user's."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def build() -> Callable[[str], tuple[nn.Module, Tensor]]:
    """Network and windows by name, always the same, with open gates and batch norms that know the windows."""

    def build(name: str) -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        make, shape, share = NETWORKS[name]
        network, x = make(), torch.randn(shape)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = share
            if isinstance(module, ResidualBorderRefinement):
                nn.init.ones_(module.gate)
        with torch.no_grad():
            network.train()(x)
        return network.eval(), x

    return build


@pytest.fixture
def runtime_network(tmp_path: Path) -> Callable[..., RuntimeNetwork]:
    """RuntimeNetwork that keeps its conversions in this test's folder."""

    def make(network: nn.Module, runtime: str = "auto", **options: str) -> RuntimeNetwork:
        return RuntimeNetwork(network, runtime, cache_dir=tmp_path / "cache", **options)

    return make
