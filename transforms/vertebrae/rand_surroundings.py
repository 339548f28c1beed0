"""Other surroundings of vertebrae, sampled anew for every window of a training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform, Transform

from radseg.transforms.tracked import tracked
from radseg.transforms.vertebrae.surroundings import SurroundVertebrae


class RandSurroundVertebrae(RandomizableTransform, Transform):
    """With a probability, `SurroundVertebrae` with sampled contents: each of lung, vessels and ribs in every second.

    Args:
        prob: probability of any change.
        lung: limits of the share of the free space that becomes lung.
        vessel_mm: limits of the bright vessels' radius.
        vessel_hu: limits of their density.
        rib_mm: limits of the ribs' radius.
        rib_hu: limits of the density of their walls.
        margin_mm: limits of the margin around vertebrae that stays.
        spacing_mm: see `SurroundVertebrae`.
        window_hu: see `SurroundVertebrae`.

    Raises:
        ValueError: limits aren't (low, high), or aren't shares and lengths.
    """

    def __init__(
        self,
        prob: float = 0.5,
        lung: Sequence[float] = (0.2, 0.8),
        vessel_mm: Sequence[float] = (4.0, 14.0),
        vessel_hu: Sequence[float] = (150.0, 450.0),
        rib_mm: Sequence[float] = (3.5, 7.0),
        rib_hu: Sequence[float] = (350.0, 1000.0),
        margin_mm: Sequence[float] = (1.5, 6.0),
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        super().__init__(prob)
        self.limits = {
            "lung": lung, "vessel_mm": vessel_mm, "vessel_hu": vessel_hu, "rib_mm": rib_mm, "rib_hu": rib_hu,
            "margin_mm": margin_mm,
        }  # fmt: skip
        for name, limits in self.limits.items():
            if len(limits) != 2 or not limits[0] <= limits[1]:
                raise ValueError(f"{name} must be (low, high), got {limits}.")
        self.given: dict[str, Any] = {"spacing_mm": spacing_mm, "window_hu": window_hu}
        for end in (0, 1):
            at_the_end: dict[str, Any] = {name: limits[end] for name, limits in self.limits.items()}
            SurroundVertebrae(0, **at_the_end, **self.given)
        self._surroundings: SurroundVertebrae | None = None

    @property
    def surroundings(self) -> SurroundVertebrae | None:
        """What was sampled last; None for nothing."""
        return self._surroundings

    def randomize(self, data: object = None) -> None:
        """Decide whether to change anything, and sample what, into ``surroundings``."""
        super().randomize(None)
        self._surroundings = None
        if self._do_transform:
            sampled: dict[str, Any] = {name: float(self.R.uniform(*limits)) for name, limits in self.limits.items()}
            for name in ("lung", "vessel_mm", "rib_mm"):
                sampled[name] *= float(self.R.uniform() < 0.5)
            self._surroundings = SurroundVertebrae(int(self.R.randint(2**31)), **sampled, **self.given)

    def __call__(self, image: torch.Tensor, labels: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """Return the image, with other surroundings or as it is; ``randomize=False`` repeats the last sample.

        Raises:
            ValueError: the shapes differ or aren't (1, i, j, k), or the spacing is unknown.
        """
        if randomize:
            self.randomize()
        return tracked(image) if self._surroundings is None else self._surroundings(image, labels)


class RandSurroundVertebraed(RandomizableTransform, MapTransform):
    """Dictionary form of `RandSurroundVertebrae`; the map stays as it is.

    Args:
        image_key: key of the CT.
        label_key: key of the label map.
        prob: see `RandSurroundVertebrae`.
        spacing_mm: see `RandSurroundVertebrae`.
        window_hu: see `RandSurroundVertebrae`.
        limits: of what is sampled: see `RandSurroundVertebrae`.
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        prob: float = 0.5,
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
        **limits: Sequence[float],
    ) -> None:
        MapTransform.__init__(self, (image_key, label_key))
        RandomizableTransform.__init__(self, prob)
        self.sampler = RandSurroundVertebrae(prob, **limits, spacing_mm=spacing_mm, window_hu=window_hu)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandSurroundVertebraed:
        """Seed the decision and what is sampled."""
        super().set_random_state(seed, state)
        self.sampler.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with other surroundings in the image, or as it is."""
        out = dict(data)
        image_key, label_key = self.keys
        out[image_key] = self.sampler(out[image_key], out[label_key])
        return out
