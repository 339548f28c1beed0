"""The networks leave torch at a fixed window size: torch.export and OpenVINO give the same logits."""

from collections.abc import Callable

import openvino
import pytest
import torch
from torch import Tensor, nn

from radseg.networks import AttentionUNet, EncoderUNet, LungDeepLab, LungFCNN, LungUNet, SpineFusionNet
from radseg.networks.comparison import DeepLabV3Plus, FCN8s, SegNet, UNet, UNetPlusPlus
from radseg.networks.spine_attention import SelfAttention
from radseg.pipelines.engine.runtime.quiet_openvino import openvino_core

NARROW = (4, 8, 16, 32, 64)
FCN = (8, 8, 8, 16, 16, 32)
U_NET = (4, 4, 8, 16, 32, 4)


def louder(net: LungDeepLab) -> LungDeepLab:
    """The network with logits that vary; freshly built, its five scales of averaging leave next to nothing."""
    with torch.no_grad():
        net.output.weight.mul_(50)
    return net


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "spine-2d": (lambda: SpineFusionNet(2, 1, 3, NARROW), (2, 1, 32, 48)),
    "spine-2d-padded": (lambda: SpineFusionNet(2, 1, 1, NARROW), (1, 1, 33, 41)),
    "spine-3d": (lambda: SpineFusionNet(3, 1, 3, NARROW), (1, 1, 32, 16, 32)),
    "spine-3d-padded": (lambda: SpineFusionNet(3, 1, 3, NARROW), (1, 1, 17, 16, 20)),
    "lung-ct": (lambda: AttentionUNet(features=NARROW[:4], dropout=0.0), (2, 1, 32, 48)),
    "lung-ct-padded": (lambda: AttentionUNet(features=NARROW[:4]), (1, 1, 33, 41)),
    "lung-xray-unet": (lambda: LungUNet(features=4), (1, 1, 33, 41)),
    "lung-xray-fcnn": (lambda: LungFCNN(features=4), (1, 1, 33, 41)),
    "lung-xray-deeplab": (lambda: louder(LungDeepLab(features=4)), (1, 1, 33, 41)),
    "pelvis-xray": (lambda: EncoderUNet("mobilenetv2"), (4, 3, 96, 90)),
    "segnet-2d-padded": (lambda: SegNet(2, 1, 3, (8, 8, 8, 16, 16)), (2, 1, 33, 41)),
    "segnet-3d-padded": (lambda: SegNet(3, 1, 3, (8, 8, 8, 16, 16)), (1, 1, 32, 16, 32)),
    "fcn-8s-2d-padded": (lambda: FCN8s(2, 1, 3, FCN), (2, 1, 33, 41)),
    "fcn-8s-3d-padded": (lambda: FCN8s(3, 1, 3, FCN), (1, 1, 32, 16, 32)),
    "deeplab-v3-plus-2d-padded": (lambda: DeepLabV3Plus(2, 1, 3, 4), (2, 1, 33, 41)),
    "deeplab-v3-plus-3d": (lambda: DeepLabV3Plus(3, 1, 3, 4), (2, 1, 48, 48, 32)),
    "u-net-2d-padded": (lambda: UNet(2, 1, 3, U_NET), (2, 1, 33, 41)),
    "u-net-3d": (lambda: UNet(3, 1, 3, U_NET), (1, 1, 32, 16, 32)),
    "u-net-plus-plus-2d-padded": (lambda: UNetPlusPlus(2, 1, 3, U_NET), (2, 1, 33, 41)),
    "u-net-plus-plus-3d": (lambda: UNetPlusPlus(3, 1, 3, U_NET), (1, 1, 32, 16, 32)),
    # 2,145 keys of 8,385 positions, both sizes odd
    "pooled-attention": (lambda: SelfAttention(2, 8), (1, 8, 129, 65)),
}
LONG = {name for name in CASES if name.startswith(("deeplab-v3-plus", "u-net"))}

pytestmark = [
    # torch.export, of a part of torch itself
    pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated:FutureWarning"),
    # OpenVINO converts a module by tracing it
    pytest.mark.filterwarnings("ignore:`torch.jit.trace.*` is deprecated:DeprecationWarning"),
]


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in CASES])
def case(request: pytest.FixtureRequest, alive) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    build, shape = CASES[request.param]
    x = torch.randn(shape)
    net = alive(build(), x)
    with torch.no_grad():
        logits = net(x)
    assert logits.std() > 0.05  # agreement of constants would prove nothing
    return net, x, logits


def run_openvino(model: openvino.Model, x: Tensor) -> Tensor:
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return torch.from_numpy(openvino_core().compile_model(model, "CPU", hints)(x.numpy())[0])


def test_the_exported_program_and_its_openvino_model_give_the_same_logits(case):
    net, x, logits = case
    program = torch.export.export(net, (x,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), logits, rtol=0, atol=1e-5)
    model = openvino.convert_model(program, input=[list(x.shape)])
    assert model.output(0).partial_shape.is_static
    torch.testing.assert_close(run_openvino(model, x), logits, rtol=0, atol=1e-3)


# Tracing notes that sizes become constants, which is what a fixed window means.
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning")
@pytest.mark.parametrize("case", ["spine-2d-padded", "spine-3d", "lung-ct", "segnet-2d-padded"], indirect=True)
def test_openvino_converts_the_module_itself(case):
    net, x, logits = case
    model = openvino.convert_model(net, example_input=x, input=[list(x.shape)])
    torch.testing.assert_close(run_openvino(model, x), logits, rtol=0, atol=1e-3)
