"""A network and its discriminator learn in turn, each from the other, and a stopped training goes on as it was."""

import itertools
import json
import math
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from adversarial_process import constant_batches, segmenter, trainer_of
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import radseg.bundles
from radseg.networks.comparison import SpineGANDiscriminator, SpineGANGenerator
from radseg.pipelines.engine import AutocastInferer
from radseg.pipelines.errors import WeightsError
from radseg.pipelines.train import train
from radseg.pipelines.training.adversarial import LOSSES, shares

NARROW = [4, 8, 16]


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.fixture(autouse=True)
def one_seed() -> None:
    torch.manual_seed(0)


def test_each_of_the_two_steps_changes_every_weight_of_its_own_network_and_none_of_the_other() -> None:
    network = segmenter()
    trainer = trainer_of(network, constant_batches(1))
    before: dict[str, dict[str, Tensor]] = {}
    steps: list[tuple[str, set[str], set[str]]] = []

    def watch(name: str, optimizer: torch.optim.Optimizer) -> None:
        def start(*_: Any) -> None:
            before["network"], before["discriminator"] = state_of(network), state_of(trainer.discriminator)

        def end(*_: Any) -> None:
            steps.append(
                (name, changed(network, before["network"]), changed(trainer.discriminator, before["discriminator"]))
            )

        optimizer.register_step_pre_hook(start)
        optimizer.register_step_post_hook(end)

    watch("discriminator", trainer.discriminator_optimizer)
    watch("network", trainer.optimizer)
    trainer.run()
    judges, weights = (
        {name for name, _ in trainer.discriminator.named_parameters()},
        {name for name, _ in network.named_parameters()},
    )
    assert steps == [("discriminator", set(), judges), ("network", weights, set())]


def test_the_backward_pass_of_each_leaves_the_gradients_of_the_other() -> None:
    network = segmenter()
    trainer = trainer_of(network, constant_batches(1))
    after_its_own: dict[str, Tensor] = {}

    def keep(*_: Any) -> None:
        assert all(parameter.grad is None for parameter in network.parameters())
        after_its_own.update({name: p.grad.clone() for name, p in trainer.discriminator.named_parameters()})

    trainer.discriminator_optimizer.register_step_post_hook(keep)
    trainer.run()
    for name, parameter in trainer.discriminator.named_parameters():
        assert torch.equal(parameter.grad, after_its_own[name])


def test_the_loss_is_the_segmentation_s_and_the_weighed_adversarial_one() -> None:
    trainer = trainer_of(segmenter(), constant_batches(3), adversarial_weight=0.25)
    trainer.run()
    output = trainer.state.output[0]
    assert output["loss"] == pytest.approx(float(output["segmentation_loss"] + 0.25 * output["adversarial_loss"]))


def test_without_its_weight_the_network_learns_as_without_a_discriminator() -> None:
    alone, opposed = segmenter(), segmenter()
    opposed.load_state_dict(alone.state_dict())
    trainer_of(opposed, constant_batches(4), adversarial_weight=0.0).run()
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=constant_batches(4),
        network=alone,
        optimizer=torch.optim.Adam(alone.parameters(), 0.01),
        loss_function=nn.BCEWithLogitsLoss(),
    ).run()
    assert not changed(opposed, state_of(alone))


def test_with_its_weight_the_discriminator_moves_the_network() -> None:
    alone, opposed = segmenter(), segmenter()
    opposed.load_state_dict(alone.state_dict())
    trainer_of(alone, constant_batches(2), adversarial_weight=0.0).run()
    trainer_of(opposed, constant_batches(2)).run()
    assert changed(opposed, state_of(alone))


def test_a_discriminator_learns_to_tell_the_masks_of_a_network_that_stands_still() -> None:
    network = segmenter()
    trainer = trainer_of(network, constant_batches(8), learning_rate=0.0, discriminator_learning_rate=0.01, epochs=3)
    means: list[float] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: means.append(trainer.state.metrics["discriminator_loss"]))
    trainer.run()
    assert means[2] < means[1] < means[0]


def test_the_metrics_are_each_epoch_s_means_of_its_steps() -> None:
    trainer = trainer_of(segmenter(), constant_batches(3), epochs=2)
    steps: dict[str, list[float]] = {name: [] for name in LOSSES}
    means: list[dict[str, float]] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda: [steps[name].append(float(trainer.state.output[0][name])) for name in LOSSES],
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: means.append(dict(trainer.state.metrics)))
    trainer.run()
    for epoch in range(2):
        expected = {name: sum(steps[name][3 * epoch : 3 * epoch + 3]) / 3 for name in LOSSES}
        assert means[epoch] == pytest.approx(expected)


def test_in_bfloat16_all_stays_finite_and_the_discriminator_computes_in_float32() -> None:
    trainer = trainer_of(
        SpineGANGenerator(2, 1, 1, NARROW), constant_batches(2), inferer=AutocastInferer(SimpleInferer())
    )
    seen = set()
    trainer.discriminator.block1.conv.register_forward_hook(lambda _, inputs, output: seen.add(output.dtype))
    trainer.run()
    assert seen == {torch.float32}
    assert all(math.isfinite(trainer.state.output[0][name]) for name in ("loss", *LOSSES))
    for network in (trainer.network, trainer.discriminator):
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_accumulated_gradients_step_the_network_less_often_and_the_discriminator_every_time() -> None:
    trainer = trainer_of(segmenter(), constant_batches(4), accumulation_steps=2)
    steps = {"network": 0, "discriminator": 0}
    for name, optimizer in (("network", trainer.optimizer), ("discriminator", trainer.discriminator_optimizer)):

        def count(*_: Any, name: str = name) -> None:
            steps[name] += 1

        optimizer.register_step_post_hook(count)
    trainer.run()
    assert steps == {"network": 2, "discriminator": 4}


def test_class_numbers_are_judged_beside_softmax_and_masks_beside_sigmoid() -> None:
    logits = torch.randn(2, 3, 4, 4)
    label = torch.randint(0, 3, (2, 1, 4, 4))
    fake, drawn = shares(logits, label)
    torch.testing.assert_close(fake.sum(1), torch.ones(2, 4, 4))
    assert torch.equal(drawn.argmax(1, keepdim=True), label)
    assert drawn.unique().tolist() == pytest.approx([0.01, 0.99])
    for channels in (1, 3):
        mask = torch.randint(0, 2, (2, channels, 4, 4))
        fake, drawn = shares(logits[:, :channels], mask)
        torch.testing.assert_close(fake, logits[:, :channels].sigmoid())
        assert torch.equal(drawn > 0.5, mask.bool())


def test_a_state_of_other_settings_or_another_discriminator_is_refused() -> None:
    network, batches = segmenter(), constant_batches(1)
    saved = trainer_of(network, batches).extra_state()
    with pytest.raises(WeightsError, match="was trained with adversarial_weight 1; resume with the same settings"):
        trainer_of(network, batches, adversarial_weight=0.5).load_extra_state(saved)
    with pytest.raises(WeightsError, match="was trained with discriminator_learning_rate 0"):
        trainer_of(network, batches, discriminator_learning_rate=0.5).load_extra_state(saved)
    other = trainer_of(network, batches, discriminator=SpineGANDiscriminator(2, 1, (4, 8, 8)))
    with pytest.raises(WeightsError, match="belongs to another discriminator"):
        other.load_extra_state(saved)


@pytest.mark.parametrize("wrong", [{"adversarial_weight": -1.0}, {"discriminator_learning_rate": -1.0}])
def test_negative_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        trainer_of(segmenter(), constant_batches(1), **wrong)


@pytest.mark.long
def test_two_processes_hold_one_discriminator_however_each_began(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "support" / "adversarial_process.py"
    processes = [subprocess.Popen([sys.executable, script, tmp_path, str(rank)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, value in first["discriminator"].items():
        assert torch.equal(value, second["discriminator"][name])
    assert first["losses"] != second["losses"]  # each saw masks of its own


# the spine bundle

ADVERSARIAL = {
    "_target_": "radseg.pipelines.training.adversarial.AdversarialSegmentationTrainer",
    "discriminator": {
        "_target_": "radseg.networks.comparison.SpineGANDiscriminator",
        "spatial_dims": "@spatial_dims",
        "in_channels": "@out_channels",
        "features": NARROW,
    },
}
GENERATOR = {
    "_target_": "radseg.networks.comparison.SpineGANGenerator",
    "spatial_dims": "@spatial_dims",
    "in_channels": 1,
    "out_channels": "@out_channels",
    "features": NARROW,
}


@dataclass(frozen=True)
class Run:
    """What a training left."""

    folder: Path

    @property
    def history(self) -> Any:
        return json.loads((self.folder / "history.json").read_text())

    @property
    def last(self) -> Any:
        return torch.load(self.folder / "last.pt", weights_only=True)


def oppose(folder: Path, trainer: dict[str, Any] = ADVERSARIAL, **overrides: Any) -> Run:
    """Trains the smallest 2D form of `spine` on the sample data as Spine-GAN, four steps an epoch."""
    recipe = json.loads((Path(radseg.bundles.__file__).parent / "spine" / "train.json").read_text())
    settings: dict[str, Any] = {
        "output_dir": str(folder), "progress": False, "spatial_dims": 2, "roi_size": [1, 32, 32],
        "spacing_mm": [4.0, 4.0, 4.0], "network_def": GENERATOR, "max_epochs": 2, **overrides,
    }  # fmt: skip
    train("spine", trust_config=True, **{"train#trainer": {**recipe["train"]["trainer"], **trainer}}, **settings)
    return Run(folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return oppose(tmp_path_factory.mktemp("uninterrupted"))


def assert_same(run: Run, other: Run) -> None:
    assert run.history == other.history
    for part in ("network", "optimizer", "trainer"):
        torch.testing.assert_close(run.last[part], other.last[part], rtol=0, atol=0)


def test_history_and_tensorboard_have_all_losses(uninterrupted: Run) -> None:
    rows = uninterrupted.history["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert row["loss"] == pytest.approx(row["segmentation_loss"] + row["adversarial_loss"])
        assert 0 < row["discriminator_loss"] < 10
    curves = EventAccumulator(str(uninterrupted.folder / "tensorboard")).Reload()
    for name in LOSSES:
        assert [point.value for point in curves.Scalars(name)] == pytest.approx([row[name] for row in rows])


def test_one_seed_gives_one_training(uninterrupted: Run, tmp_path: Path) -> None:
    assert_same(oppose(tmp_path), uninterrupted)


def test_resumed_after_an_epoch_equals_uninterrupted(uninterrupted: Run, tmp_path: Path) -> None:
    oppose(tmp_path, max_epochs=1)
    assert_same(oppose(tmp_path, resume=True), uninterrupted)


def test_resumed_in_mid_epoch_equals_uninterrupted(
    uninterrupted: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count(1)

    def until_stopped(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        if next(calls) == 11:  # of two calls a step: in the second of the second epoch
            signal.raise_signal(signal.SIGTERM)
        return shares(logits, label)

    with monkeypatch.context() as patch:
        patch.setattr("radseg.pipelines.training.adversarial.shares", until_stopped)
        with pytest.raises(SystemExit, match="143"):
            oppose(tmp_path)
    assert len(Run(tmp_path).last["losses"]) == 6
    assert_same(oppose(tmp_path, resume=True), uninterrupted)


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({**ADVERSARIAL, "adversarial_weight": 0.5}, r"last\.pt: was trained with adversarial_weight 1; resume with"),
        ({}, r"last\.pt: was trained by another kind of trainer; resume with the same train#trainer"),
    ],
)
def test_another_trainer_doesnt_go_on_from_it(uninterrupted: Run, trainer: dict[str, Any], message: str) -> None:
    before = uninterrupted.history
    with pytest.raises(WeightsError, match=message):
        oppose(uninterrupted.folder, trainer, max_epochs=3, resume=True)
    assert uninterrupted.history == before
