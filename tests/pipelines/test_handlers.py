"""Training's handlers: seeds and rates that depend on the step alone, batch-norm statistics that fit the weights."""

import math
from collections.abc import Iterator

import pytest
import torch
from ignite.engine import Engine, Events

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.handlers import AtStart, EpochSeed, RateSchedule, RefreshBatchNorm
from radseg.pipelines.training.epoch_dataset import EpochDataset


def _draws(start: int, epochs: int) -> list[float]:
    dataset = EpochDataset([], lambda item: item, progress=False)
    engine = Engine(lambda engine, batch: drawn.append(torch.rand(1).item()))
    drawn: list[float] = []
    EpochSeed(7, dataset).attach(engine)
    engine.state.epoch, engine.state.iteration = start, start * 2
    engine.state.max_epochs, engine.state.epoch_length = epochs, 2
    engine.run([0, 1], max_epochs=epochs, epoch_length=2)
    assert dataset.epoch == epochs
    return drawn


def test_an_epoch_draws_the_same_after_a_restart() -> None:
    assert _draws(0, 3)[2:] == _draws(1, 3)
    assert len(set(_draws(0, 3))) == 6


def test_refreshed_statistics_are_those_of_the_data() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(3, momentum=0.01))
    images = 5 + 2 * torch.randn(4, 64, 3)
    network(images[0])  # one step of training hardly moves the running mean
    assert network[0].running_mean.max() < 0.2
    loader = [{"image": batch} for batch in images]
    engine = Engine(lambda engine, batch: None)
    RefreshBatchNorm(network, loader, torch.device("cpu"), batches=3).attach(engine)
    engine.run([0], max_epochs=1)
    assert torch.allclose(network[0].running_mean, images[:3].mean(dim=(0, 1)), atol=1e-5)
    assert network[0].momentum == 0.01


def test_statistics_are_refreshed_only_where_a_validation_follows() -> None:
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    counted: list[int] = []

    def loader() -> Iterator[dict[str, torch.Tensor]]:
        counted.append(engine.state.epoch)
        yield {"image": torch.randn(8, 3)}

    class Loader:
        __iter__ = staticmethod(loader)

    engine = Engine(lambda engine, batch: None)
    RefreshBatchNorm(network, Loader(), torch.device("cpu"), interval=2).attach(engine)  # type: ignore[arg-type]
    engine.run([0], max_epochs=5)
    assert counted == [2, 4]


def _rates(schedule: str, start: int = 0, others: tuple[str, ...] = ()) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    rates: list[float] = []
    engine = Engine(lambda engine, batch: rates.append(optimizer.param_groups[0]["lr"]))
    RateSchedule(schedule, optimizer, 0.4, others).attach(engine)
    engine.state.epoch, engine.state.iteration = start, start * 3
    engine.state.max_epochs, engine.state.epoch_length = 3, 3
    engine.run([0, 1, 2], max_epochs=3, epoch_length=3)
    return rates


def test_cosine_falls_from_the_rate_to_a_hundredth_of_it_and_goes_on_after_a_restart() -> None:
    rates = _rates("cosine")
    assert rates[0] == pytest.approx(0.4)
    assert rates[-1] == pytest.approx(0.004)
    assert rates[4] == pytest.approx(0.4 * (0.01 + 0.99 / 2))  # half-way
    assert rates[2] == pytest.approx(0.4 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert rates == sorted(rates, reverse=True)
    assert _rates("cosine", start=1) == rates[3:]


def test_other_schedules_leave_the_rate_alone_and_unknown_ones_are_refused() -> None:
    assert set(_rates("constant")) == set(_rates("plateau", others=("plateau",))) == {0.5}
    with pytest.raises(ConfigError, match="'plateau' is unknown; there are constant, cosine"):
        _rates("plateau")


def test_a_handler_made_at_the_start_sees_what_follows() -> None:
    seen: list[int] = []

    class Counter:
        def attach(self, engine: Engine) -> None:
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.iteration))

    made: list[Counter] = []
    engine = Engine(lambda engine, batch: None)
    AtStart(lambda: made.append(Counter()) or made[-1]).attach(engine)
    assert made == []
    for _ in range(2):
        engine.run([0, 1], max_epochs=1)
    assert len(made) == 1
    assert seen == [1, 2, 1, 2]
