"""Grad-CAM of a segmentation is the papers' formula, for a region of a label, of any layer that gives feature maps."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.explain.cam import RegionCAM, enlarged
from radseg.pipelines.explain.sanity import cascade

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}


class Net(nn.Module):
    """Two layers of features at half size, then logits at full size."""

    def __init__(self, dims: int = 2, classes: int = 1) -> None:
        super().__init__()
        self.early = CONVOLUTION[dims](1, 6, 3, stride=2, padding=1)
        self.late = CONVOLUTION[dims](6, 4, 3, padding=1)
        self.logits = CONVOLUTION[dims](4, classes, 1)
        self.unused = CONVOLUTION[dims](1, 1, 1)
        self.parts = nn.ModuleList([self.early])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.unused(x)
        features = F.relu(self.late(F.relu(self.early(x))))
        return F.interpolate(self.logits(features), size=x.shape[2:], mode="nearest")


def network(dims: int = 2, classes: int = 1) -> Net:
    torch.manual_seed(1)
    return Net(dims, classes)


def question(dims: int = 2, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """A window and a region in its middle."""
    torch.manual_seed(2)
    region = torch.zeros([size] * dims)
    region[(slice(size // 4, size // 2),) * dims] = 1
    return torch.randn(1, 1, *[size] * dims), region


@pytest.mark.parametrize("dims", [2, 3])
def test_grad_cam_is_the_papers_formula_of_the_logits_summed_over_the_region(dims: int) -> None:
    net, (x, region) = network(dims), question(dims)
    features = net.late(F.relu(net.early(x))).detach().requires_grad_(True)
    logits = F.interpolate(net.logits(F.relu(features)), size=x.shape[2:], mode="nearest")
    (gradient,) = torch.autograd.grad((logits[:, 0] * region).sum(), features)
    weights = gradient.mean(dim=tuple(range(2, 2 + dims)), keepdim=True)
    expected = F.relu((weights * features).sum(1, keepdim=True)).detach()
    assert expected.any()
    torch.testing.assert_close(RegionCAM(net, "late", "gradcam").coarse(x, region, 1, 1), expected)


def test_grad_cam_plus_plus_is_its_formula_but_for_one_factor() -> None:
    net, (x, region) = network(), question()
    net.logits.bias.data.fill_(-0.05)
    features = net.late(F.relu(net.early(x))).detach().requires_grad_(True)
    logits = F.interpolate(net.logits(F.relu(features)), size=x.shape[2:], mode="nearest")
    score = (logits[:, 0] * region).sum()
    (g,) = torch.autograd.grad(score, features)
    below = 2 * g**2 + (features * g**3).sum((2, 3), keepdim=True)
    alpha = g**2 / (torch.where(below != 0, below, 1.0) + 1e-7)
    weights = (alpha * F.relu(score.exp() * g)).sum((2, 3), keepdim=True)
    expected = F.relu((weights * features).sum(1, keepdim=True)).detach()
    found = RegionCAM(net, "late", "gradcam++").coarse(x, region, 1, 1)
    torch.testing.assert_close(found / found.max(), expected / expected.max())


def test_a_region_of_a_hundred_thousand_sure_pixels_overflows_nothing() -> None:
    net = network()
    net.logits.bias.data.fill_(80.0)  # the exponential of their sum is far beyond any float
    x = torch.randn(1, 1, 320, 320)
    found = RegionCAM(net, "late", "gradcam++").coarse(x, torch.ones(320, 320), 1, 1)
    assert torch.isfinite(found).all()
    assert found.any()


def test_the_label_is_the_class_after_the_background_where_there_is_one() -> None:
    x, region = question()
    with_background, alone = network(classes=3), network(classes=2)
    alone.logits.weight.data = with_background.logits.weight.data[1:]
    alone.logits.bias.data = with_background.logits.bias.data[1:]
    for label in (1, 2):
        maps = [RegionCAM(net, "late", "gradcam").coarse(x, region, label, 2) for net in (with_background, alone)]
        torch.testing.assert_close(*maps)
    first, second = (RegionCAM(alone, "late", "gradcam").coarse(x, region, label, 2) for label in (1, 2))
    assert not torch.equal(first, second)


def test_the_map_follows_the_region() -> None:
    x, region = question()
    cam = RegionCAM(network(), "early", "gradcam")
    there, elsewhere = (cam.coarse(x, one, 1, 1) for one in (region, region.flip(0, 1)))
    assert there.any()
    assert elsewhere.any()
    assert not torch.equal(there, elsewhere)


def squares(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a smooth bright square in each image, which is the truth, and a striped one, which isn't."""
    images, masks = torch.rand(count, 1, 32, 32) * 0.3, torch.zeros(count, 1, 32, 32)
    for image, mask, (top, left) in zip(images, masks, torch.randint(0, 22, (count, 2)).tolist(), strict=True):
        image[:, top : top + 8, left : left + 8] += 0.7
        mask[:, top : top + 8, left : left + 8] = 1
        other = (left + 16) % 24
        image[:, top : top + 8 : 2, other : other + 8] += 0.7
    return images, masks


def test_a_network_that_learnt_bright_squares_looked_at_them() -> None:
    torch.manual_seed(0)
    net = Net()
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(100):
        images, masks = squares(4)
        loss = F.binary_cross_entropy_with_logits(net(images), masks, pos_weight=torch.tensor(5.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    image, mask = squares(1)
    predicted = (net(image)[0, 0] > 0).float()
    assert 2 * (predicted * mask).sum() / (predicted.sum() + mask.sum()) > 0.8
    cam = RegionCAM(net, "late", "gradcam")
    (learnt,) = cam(image, predicted, 1, 1)
    share, area = float((learnt * mask[0, 0]).sum() / learnt.sum()), float(mask.mean())
    assert share > 5 * area
    rows = cascade(cam, image, predicted, 1, 1)
    assert [row["randomised"] for row in rows] == ["logits", "late", "early", "unused"]
    assert rows[-1]["rank_correlation"] is None or rows[-1]["rank_correlation"] < 0.5


def test_the_network_that_is_explained_stays_as_it_was() -> None:
    net, (x, region) = network().train(), question()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    RegionCAM(net, "late", "gradcam").coarse(x, region, 1, 1)
    assert net.training
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_features_before_the_layer_are_not_kept() -> None:
    x, region = question(size=64)

    def kept(layer: str) -> int:
        sizes: list[int] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        cam = RegionCAM(network(), layer, "gradcam")
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            cam.coarse(x, region, 1, 1)
        return sum(sizes)

    assert kept("logits") < kept("late") < kept("early")


def test_a_map_is_enlarged_between_the_centres_of_its_features() -> None:
    small = torch.tensor([[[[0.0, 4.0]]]])
    assert enlarged(small, (1, 4)).tolist() == [[0.0, 1.0, 3.0, 4.0]]


class Branching(nn.Module):
    """Layers that can't be explained: one gives two tensors, one is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.two = Two()
        self.shared = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.two(x)
        return self.shared(one) + self.shared(other)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inside(x), x


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("lat", "Net has no layer 'lat': did you mean 'late'?"),
        ("zzzzzz", "it is made of early, late, logits, unused, parts"),
        (None, "names no explain_layer; give --layer, Net is made of early"),
    ],
)
def test_an_unknown_layer_is_told_with_the_nearest_name(layer: str | None, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        RegionCAM(network(), layer, "gradcam")


@pytest.mark.parametrize(
    ("net", "layer", "told"),
    [
        (Net(), "unused", "the logits don't depend on that layer's output"),
        (Net(), "parts", "the logits don't depend on that layer's output"),
        (Branching(), "two", "doesn't give one tensor of feature maps: name another, such as 'two.inside'"),
        (Branching(), "shared", "is used more than once"),
    ],
)
def test_a_layer_that_cannot_be_explained_says_why(net: nn.Module, layer: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RegionCAM(net, layer, "gradcam").coarse(*question(), 1, 1)


def test_where_nothing_raises_the_logits_the_map_is_0_and_no_nan() -> None:
    net, (x, region) = network(), question()
    net.logits.weight.data.zero_()
    for method in ("gradcam", "gradcam++"):
        found = RegionCAM(net, "late", method).coarse(x, region, 1, 1)
        assert not found.any()
        assert math.isfinite(float(found.sum()))
