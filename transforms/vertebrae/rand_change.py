"""What random changes of a CT by its vertebrae share: they sample a change, apply it, and can repeat it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform

from radseg.transforms.tracked import tracked

Change = TypeVar("Change", bound=Callable[[torch.Tensor, torch.Tensor], torch.Tensor])


def checked_limits(**named: Sequence[float]) -> None:
    """Check ranges to sample from.

    Raises:
        ValueError: one isn't (low, high).
    """
    for name, limits in named.items():
        if len(limits) != 2 or not limits[0] <= limits[1]:
            raise ValueError(f"{name} must be (low, high), got {limits}.")


class RandChange(RandomizableTransform, Generic[Change]):
    """With a probability, sample a change of the image and apply it; the map stays as it is.

    Args:
        prob: probability of a change.
    """

    def __init__(self, prob: float) -> None:
        super().__init__(prob)
        self._sampled: Change | None = None

    @property
    def sampled(self) -> Change | None:
        """What was sampled last; None for nothing."""
        return self._sampled

    @abstractmethod
    def sample(self) -> Change:
        """Draw a change."""

    def randomize(self, data: object = None) -> None:
        """Decide whether to change anything, and sample what, into ``sampled``."""
        super().randomize(None)
        self._sampled = self.sample() if self._do_transform else None

    def __call__(self, image: torch.Tensor, labels: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """Return the image (1, i, j, k), changed or as it is; ``randomize=False`` repeats the last sample.

        Raises:
            ValueError: the shapes differ or aren't (1, i, j, k), or the spacing is unknown.
        """
        if randomize:
            self.randomize()
        return tracked(image) if self._sampled is None else self._sampled(image, labels)


class RandVertebraed(RandomizableTransform, MapTransform):
    """Dictionary form of a random change.

    Args:
        image_key: key of the CT.
        label_key: key of the label map.
        sampler: what decides, samples and changes.
    """

    def __init__(self, image_key: str, label_key: str, sampler: RandomizableTransform) -> None:
        MapTransform.__init__(self, (image_key, label_key))
        RandomizableTransform.__init__(self, sampler.prob)
        self.sampler: Any = sampler

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        """Seed the decision and what is sampled."""
        super().set_random_state(seed, state)
        self.sampler.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the image changed, or as it is; the map stays as it is."""
        out = dict(data)
        image_key, label_key = self.keys
        out[image_key] = self.sampler(out[image_key], out[label_key])
        return out
