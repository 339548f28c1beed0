"""What the network tests share: one seed, one thread, and networks whose batch norms fit their input."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from radseg.networks.spine_attention import ResidualBorderRefinement


@pytest.fixture(autouse=True)
def one_seed_and_thread() -> Iterator[None]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def alive() -> Callable[[nn.Module, Tensor], nn.Module]:
    """Evaluation mode with batch-norm statistics of `x` and open gates.

    Freshly built networks squeeze their signal almost to a constant and keep attention shut off: comparing such
    outputs would prove little.
    """

    def bring_alive(net: nn.Module, x: Tensor) -> nn.Module:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0
            if isinstance(module, ResidualBorderRefinement):
                nn.init.ones_(module.gate)
        with torch.no_grad():
            net.train()(x)
        return net.eval()

    return bring_alive
