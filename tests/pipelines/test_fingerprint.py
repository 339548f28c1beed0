"""Two recipes have one fingerprint exactly when they are made alike."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import Compose, NormalizeIntensityd, RandFlipd, ScaleIntensityRanged

from radseg.pipelines.fingerprint import fingerprint


def _recipe(upper: float = 1.0, overlap: float = 0.5, prob: float = 0.1) -> list[Any]:
    scale = ScaleIntensityRanged("image", 0.0, upper, 0.0, 1.0)
    return [Compose([scale, RandFlipd("image", prob=prob)]), SlidingWindowInferer([4, 4, 4], overlap=overlap)]


def test_the_same_recipe_made_twice() -> None:
    assert fingerprint(_recipe()) == fingerprint(_recipe())


@pytest.mark.parametrize("other", [{"upper": 2.0}, {"overlap": 0.25}, {"prob": 0.2}])
def test_any_setting_counts(other: dict[str, float]) -> None:
    assert fingerprint(_recipe(**other)) != fingerprint(_recipe())


def test_random_states_and_the_kind_of_sequence_dont_count() -> None:
    used = _recipe()
    used[0].set_random_state(7)
    assert fingerprint(used) == fingerprint(_recipe())
    assert fingerprint({"a": (1, 2)}) == fingerprint({"a": [1, 2]})


def _times(factor: float) -> Callable[[float], float]:
    return lambda x: x * factor


def test_functions_are_told_apart_by_all_that_they_do() -> None:
    alike: list[Any] = [
        lambda x: x + 1,
        lambda x: x + 2,
        lambda x: x.sqrt(),
        lambda x: x.exp(),
        lambda x, by=1: x + by,
        lambda x, by=2: x + by,
        lambda x: [one + 1 for one in x],
        lambda x: [one + 2 for one in x],
        _times(2.0),
        _times(3.0),
        partial(np.clip, a_min=0),
        partial(np.clip, a_min=1),
        torch.sqrt,
        torch.exp,
        np.sqrt,
        np.exp,
        np.float32,
        np.float64,
        RandFlipd("image").set_random_state,
        RandFlipd("label").set_random_state,
    ]
    assert len({fingerprint(one) for one in alike}) == len(alike)
    assert fingerprint(_times(2.0)) == fingerprint(_times(2.0))


def test_another_process_finds_the_same_for_functions_within_functions() -> None:
    script = (
        "from radseg.pipelines.fingerprint import fingerprint; print(fingerprint(lambda x: map(lambda y: y + 1, x)))"
    )
    run = partial(subprocess.run, [sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run().stdout == run().stdout


def test_the_content_of_arrays_counts() -> None:
    def recipes(values: list[float]) -> list[Any]:
        tensor = torch.tensor(values)
        return [
            NormalizeIntensityd("image", subtrahend=np.array(values)),
            torch.nn.BCEWithLogitsLoss(pos_weight=tensor),
            DiceCELoss(weight=tensor),
            tensor,
        ]

    for one, again, other in zip(recipes([1.0, 2.0]), recipes([1.0, 2.0]), recipes([1.0, 3.0]), strict=True):
        assert fingerprint(one) == fingerprint(again)
        assert fingerprint(one) != fingerprint(other)


def test_settings_of_a_loss_s_parts_count() -> None:
    assert fingerprint(DiceCELoss(include_background=False)) != fingerprint(DiceCELoss())
    assert fingerprint(DiceCELoss(reduction="sum")) != fingerprint(DiceCELoss())


def test_an_optimiser_counts_with_its_settings_and_not_with_what_it_has_done() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    adam, layers = torch.optim.Adam(network.parameters()), fingerprint(network)
    before = fingerprint(adam)
    network(torch.rand(3, 2)).sum().backward()
    adam.step()
    adam.param_groups[0]["lr"] = 0.5
    assert fingerprint(adam) == before
    assert fingerprint(network) == layers
    others = [
        torch.optim.AdamW(network.parameters()),
        torch.optim.Adam(network.parameters(), betas=(0.5, 0.9)),
        torch.optim.Adam([{"params": list(network.parameters()), "weight_decay": 0.1}]),
    ]
    assert len({before, *map(fingerprint, others)}) == 4


def _nested(levels: int, prob: float) -> Compose:
    inner = Compose([RandFlipd("image", prob=prob)])
    for _ in range(levels):
        inner = Compose([inner])
    return inner


def test_settings_of_nested_transforms_count() -> None:
    assert fingerprint(_nested(6, 0.1)) != fingerprint(_nested(6, 0.2))


def test_components_that_hold_each_other_have_a_fingerprint_too() -> None:
    one = Compose([])
    one.transforms = (one,)
    assert len(fingerprint(one)) == 64
