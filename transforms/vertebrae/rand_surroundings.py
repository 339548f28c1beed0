"""Other surroundings of vertebrae, sampled anew for every window of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from radseg.transforms.vertebrae.rand_change import RandChange, RandVertebraed, checked_limits
from radseg.transforms.vertebrae.surroundings import SurroundVertebrae


class RandSurroundVertebrae(RandChange[SurroundVertebrae]):
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
        checked_limits(**self.limits)
        self.given: dict[str, Any] = {"spacing_mm": spacing_mm, "window_hu": window_hu}
        for end in (0, 1):
            at_the_end: dict[str, Any] = {name: limits[end] for name, limits in self.limits.items()}
            SurroundVertebrae(0, **at_the_end, **self.given)

    def sample(self) -> SurroundVertebrae:
        """Draw what to fill the surroundings with."""
        sampled: dict[str, Any] = {name: float(self.R.uniform(*limits)) for name, limits in self.limits.items()}
        for name in ("lung", "vessel_mm", "rib_mm"):
            sampled[name] *= float(self.R.uniform() < 0.5)
        return SurroundVertebrae(int(self.R.randint(2**31)), **sampled, **self.given)


class RandSurroundVertebraed(RandVertebraed):
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
        sampler = RandSurroundVertebrae(prob, **limits, spacing_mm=spacing_mm, window_hu=window_hu)
        super().__init__(image_key, label_key, sampler)
