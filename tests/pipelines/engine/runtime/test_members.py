"""Flips and ensembles give one opinion each, in the window's own orientation."""

import pytest
import torch
from torch import nn

from radseg.pipelines.engine.runtime import Members
from radseg.pipelines.errors import ConfigError


class Shift(nn.Module):
    """Moves values by one voxel along an axis: not symmetric, so a flip that isn't undone shows."""

    def __init__(self, axis: int, classes: int = 2) -> None:
        super().__init__()
        self.axis, self.classes = axis, classes

    def forward(self, x):
        return torch.cat([x.roll(1, self.axis) * (number + 1) for number in range(self.classes)], dim=1)


@pytest.mark.parametrize("size", [(4, 5), (3, 4, 5)], ids=["2d", "3d"])
def test_each_member_answers_in_the_windows_orientation(size):
    x = torch.randn(2, 1, *size)
    members = Members([Shift(2), Shift(3)], [(), (0,), (1, 0)])
    assert members.members == 6
    logits = members(x)
    assert logits.shape == (2, 12, *size)
    there, back = x.roll(1, 2), x.roll(-1, 2)
    assert torch.equal(logits[:, 0:2], torch.cat([there, there * 2], 1))
    assert torch.equal(logits[:, 2:4], torch.cat([back, back * 2], 1))
    assert torch.equal(logits[:, 4:6], torch.cat([back, back * 2], 1))
    assert torch.equal(logits[:, 6:7], x.roll(1, 3))
    assert torch.equal(logits[:, 8:9], x.roll(1, 3))
    assert torch.equal(logits[:, 10:11], x.roll(-1, 3))


def test_flips_of_a_real_network_average_to_a_mirror_symmetric_answer(build, runtime_network):
    net, x = build("shallow")
    members = Members([runtime_network(net, "openvino")], [(), (1,)])
    mean, mirrored = members(x).mean(1), members(x.flip(3)).mean(1)
    torch.testing.assert_close(mirrored.flip(2), mean, rtol=0, atol=1e-4)
    assert members.runtime == "openvino"


def test_notes_of_all_networks_are_one_list_and_each_is_said_once(build, runtime_network, monkeypatch):
    runs = [runtime_network(build("shallow")[0]) for _ in range(2)]
    members = Members(runs)
    for run in runs:
        run.device = torch.device("meta")
    members.fall_back_to_cpu()
    assert members.notes == ["out of GPU memory: went on on the CPU"]
    members.notes.append("out of GPU memory: 2 windows at a time")
    assert runs[0].notes == members.notes
    assert members.runtime == "openvino"


def test_plain_torch_networks_can_be_members_too():
    members = Members([Shift(2)])
    members.fall_back_to_cpu()
    assert (members.members, members.runtime, members.notes) == (1, "torch", [])


@pytest.mark.parametrize(
    ("networks", "flips"),
    [([], [()]), ([Shift(2)], []), ([Shift(2)], [(0, 1), (1, 0)]), ([Shift(2)], [(0, 0)]), ([Shift(2)], [(-1,)])],
    ids=["no-network", "no-flip", "twice", "axis-twice", "negative"],
)
def test_members_that_cannot_be_are_refused(networks, flips):
    with pytest.raises(ConfigError):
        Members(networks, flips)


def test_a_flip_along_an_axis_that_windows_have_not_is_refused():
    with pytest.raises(ConfigError, match="name 0 to 1"):
        Members([Shift(2)], [(2,)])(torch.ones(1, 1, 4, 4))
