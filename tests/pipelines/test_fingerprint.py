"""Two recipes have one fingerprint exactly when they are made alike."""

from typing import Any

import pytest
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, RandFlipd, ScaleIntensityRanged

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
    assert fingerprint(lambda x: x + 1) != fingerprint(lambda x: x + 2)


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
