"""Two processes train as one does with their joint batch, and end with one network. They are real, and talk by gloo."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from monai.metrics import DiceMetric
from torch import distributed as dist
from torch import nn
from toy_training import Images, Network, toy_training, training_of_bundle_s_loss
from two_processes import in_two_processes

import radseg.bundles
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.training import distributed

Both = list[dict[str, Any]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return in_two_processes(tmp_path_factory.mktemp("two"))


# 8: each step is full; 7: one item less in the last; 5: in the last step the second process has nothing of its own
@pytest.mark.parametrize(("scenario", "items"), [("even", 8), ("uneven", 7), ("lonely", 5)])
def test_loss_and_gradients_are_those_of_one_process_with_the_doubled_batch(
    scenario: str, items: int, both: Both
) -> None:
    alone = toy_training(items=items, batch=4)
    for one in (each[scenario] for each in both):
        assert one["losses"] == pytest.approx(alone.losses, abs=1e-5)
        assert len(one["gradients"]) == len(alone.gradients)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one["gradients"], alone.gradients, strict=True))
        assert torch.allclose(one["parameters"], alone.parameters, atol=1e-5)


@pytest.mark.parametrize("bundle", radseg.bundles.names())
def test_each_bundle_s_loss_and_gradients_are_those_of_one_process_with_the_doubled_batch(
    bundle: str, both: Both
) -> None:
    """Five items: a full step, then one in which the second process has nothing of its own."""
    alone = training_of_bundle_s_loss(bundle, ["train.json"], items=5, batch=4)
    for one in (each[f"loss of {bundle}"] for each in both):
        assert one["losses"] == pytest.approx(alone.losses, abs=1e-4)
        assert len(one["gradients"]) == len(alone.gradients) == 4
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(one["gradients"], alone.gradients, strict=True))


def test_accumulated_steps_are_those_of_one_big_batch_and_gradients_are_exchanged_once_a_step(both: Both) -> None:
    alone = toy_training(items=14, batch=8)  # 2 processes × 2 batches of 2; the last step has 6 items
    for one in (each["accumulated"] for each in both):
        assert len(one["gradients"]) == len(alone.gradients) == 4
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one["gradients"], alone.gradients, strict=True))
        assert one["exchanges"] == [2, 4, 6, 8]


@pytest.mark.parametrize("scenario", ["batch norm", "amp"])
def test_with_batch_norm_in_training_both_end_with_one_network(scenario: str, both: Both) -> None:
    first, second = (each[scenario] for each in both)
    assert torch.equal(first["parameters"], second["parameters"])
    assert torch.equal(first["buffers"], second["buffers"])
    assert first["losses"] == second["losses"]
    assert torch.isfinite(first["parameters"]).all()
    assert first["losses"][-1] < first["losses"][0]


def test_a_loss_that_is_no_number_ends_both_with_the_name_of_the_image(both: Both) -> None:
    first, second = (each["spoilt"] for each in both)
    assert first == second
    assert "diverged in epoch 1" in first
    assert "case06.png" in first


def test_metrics_are_those_of_one_process(both: Both) -> None:
    images, metric = Images(5), DiceMetric()
    metric(images.labels, images.images > 0)
    assert [each["dice"] for each in both] == pytest.approx([float(metric.aggregate())] * 2)
    assert both[0]["dice"] == both[1]["dice"]


def test_what_the_first_makes_or_meets_is_everybody_s(both: Both) -> None:
    assert [each["from the first"] for each in both] == [0, 0]
    assert [each["refused"] for each in both] == ["what the first met"] * 2
    assert [each["highest"] for each in both] == [15, 15]


def test_alone_there_is_nobody_to_agree_with() -> None:
    assert (distributed.rank(), distributed.world_size(), distributed.launched()) == (0, 1, False)
    assert distributed.total([1.5]) == [1.5]
    assert distributed.gathered("one") == ["one"]


def test_several_processes_need_torchrun_and_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="only for torchrun"):
        distributed.join(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="4 processes on 2 GPUs; start fewer"):
        distributed.own_device("auto")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert distributed.own_device("auto") == torch.device("cuda", 1)
    assert distributed.own_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="one GPU for all"):
        distributed.own_device("cuda:0")


def test_of_processes_that_fail_before_they_met_the_first_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, expected in (("0", ConfigError), ("1", SystemExit)):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(expected), distributed.one_voice():
            raise ConfigError("a mistake")


@pytest.fixture
def group_of_one() -> Iterator[None]:
    """What `join` makes, of this process alone."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_on_a_cpu_batch_norm_stays_what_it_is() -> None:
    network = Network(batch_norm=True)
    run = distributed.parallel(network, torch.device("cpu"))
    assert run.module is network
    assert type(network[1]) is nn.BatchNorm2d


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.usefixtures("group_of_one")
def test_on_a_gpu_batch_norm_is_of_all_processes_and_the_optimiser_keeps_its_weights() -> None:
    device = torch.device("cuda", 0)
    alone, network = Network(batch_norm=True).to(device), Network(batch_norm=True).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
    run = distributed.parallel(network, device)
    assert type(network[1]) is nn.SyncBatchNorm
    images, labels = Images(4).images.to(device), Images(4).labels.to(device)
    for one in (run, alone):
        nn.functional.binary_cross_entropy_with_logits(one(images), labels).backward()
    before = network[1].weight.detach().clone()
    optimizer.step()
    near = {"atol": 1e-4, "rtol": 0.0}  # of convolutions that a GPU may compute in TF32
    torch.testing.assert_close(network[1].weight, before - 0.2 * alone[1].weight.grad, **near)
    torch.testing.assert_close(network[1].running_var, alone[1].running_var, **near)
