"""What lies beside vertebrae elsewhere in the body, simulated around those of a CT: lung, filled vessels, ribs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform, Transform
from scipy import ndimage

from radseg.transforms.tracked import like, plain, tracked
from radseg.transforms.vertebrae.fracture import affine_of
from radseg.transforms.vertebrae.hounsfield import Values, checked_window, in_hounsfield, in_window

LUNG_HU = -850.0

_BONE_HU = 180.0
"""What is denser stays: ribs, other bones, metal."""
_LUNG_VESSEL_MM = 1.5
_WALL_MM = 1.5
_STEP_MM = 3.0
"""Grid on which random fields are drawn."""
_CLOSED_MM = 10.0
"""Half the width of gaps between vertebrae that are closed: discs, the spinal canal."""


class SurroundVertebrae(Transform):
    """Fill soft tissue beside the vertebrae of a CT with lung, with vessels full of contrast medium, and with ribs.

    The vertebrae, the discs and canal between them, what lies within a margin of them, and all that is as dense as
    bone already, stay as they are. The shapes are no anatomy: lung is where a smooth random field is high; vessels and
    ribs are curved tubes, about where two such fields are both 0. A network that has seen lumbar spines alone has never
    seen lung beside a vertebra, a bright aorta or a rib.

    Args:
        seed: of the fields.
        lung: share of the free space that becomes lung, 0 to 1.
        vessel_mm: radius of the bright vessels; 0 for none.
        vessel_hu: their density.
        rib_mm: radius of the ribs; 0 for none.
        rib_hu: density of their walls; their insides have half of it.
        margin_mm: how near the vertebrae nothing is changed.
        spacing_mm: voxel spacing of arrays in RAS order; None takes the image's affine.
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.

    Raises:
        ValueError: a share or a length isn't one.
    """

    def __init__(
        self,
        seed: int = 0,
        lung: float = 0.5,
        vessel_mm: float = 8.0,
        vessel_hu: float = 300.0,
        rib_mm: float = 5.0,
        rib_hu: float = 600.0,
        margin_mm: float = 3.0,
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        if not 0 <= lung <= 1:
            raise ValueError(f"lung must be a share, 0 to 1, got {lung}.")
        for name, length in (("vessel_mm", vessel_mm), ("rib_mm", rib_mm), ("margin_mm", margin_mm)):
            if not 0 <= length < float("inf"):
                raise ValueError(f"{name} must be a length of 0 or more, got {length}.")
        self.seed, self.lung, self.margin_mm = seed, float(lung), float(margin_mm)
        self.vessel_mm, self.vessel_hu = float(vessel_mm), float(vessel_hu)
        self.rib_mm, self.rib_hu = float(rib_mm), float(rib_hu)
        self.spacing_mm, self.window_hu = spacing_mm, checked_window(window_hu)

    def __call__(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the image with other surroundings; dtype and metadata kept.

        Args:
            image: CT in HU or in the window, (1, i, j, k).
            labels: label map on the same grid, (1, i, j, k); what isn't 0 is a vertebra.

        Raises:
            ValueError: the shapes differ or aren't (1, i, j, k), or the spacing is unknown.
        """
        affine = affine_of(image, labels, self.spacing_mm)
        spacing = np.linalg.norm(affine[:3, :3], axis=0).astype(np.float32)
        image, labels = tracked(image), tracked(labels)
        values = plain(image).numpy()[0]
        hu = in_hounsfield(values.astype(np.float32), self.window_hu)
        changed = in_window(self._surrounded(hu, plain(labels).numpy()[0] > 0, spacing), self.window_hu)
        if np.issubdtype(values.dtype, np.integer):
            changed = np.rint(changed)
        return like(torch.from_numpy(changed[None].astype(values.dtype)), image)

    def _surrounded(self, hu: Values, bone: np.ndarray, spacing: Values) -> Values:
        rng = np.random.default_rng(self.seed)
        free = _soft_edge(~(_column(bone, self.margin_mm, spacing) | (hu > _BONE_HU)), spacing)
        noise = rng.normal(0, 1, hu.shape).astype(np.float32)
        if self.lung > 0:
            field = _field(rng, spacing * hu.shape, rng.uniform(40, 90))
            inside = _soft_edge(_spread(field, hu.shape) > np.quantile(field, 1 - self.lung), spacing)
            air = np.full_like(hu, LUNG_HU) + 40 * noise
            air = _painted(air, _tube(rng, hu.shape, spacing, 18.0, _LUNG_VESSEL_MM), 40 + 30 * noise)
            hu = _painted(hu, inside * free, air)
        if self.vessel_mm > 0:
            hu = _painted(hu, _tube(rng, hu.shape, spacing, 70.0, self.vessel_mm) * free, self.vessel_hu + 25 * noise)
        if self.rib_mm > 0:
            axis = _tube_distance(rng, hu.shape, spacing, 60.0)
            rib = np.where(axis > self.rib_mm - _WALL_MM, self.rib_hu, 0.5 * self.rib_hu).astype(np.float32)
            hu = _painted(hu, np.clip(self.rib_mm - axis + 0.5, 0, 1) * free, rib + 40 * noise)
        return hu


def _column(bone: np.ndarray, margin_mm: float, spacing: Values) -> np.ndarray:
    """The vertebrae with a margin, and what they enclose: discs and the spinal canal."""
    if not bone.any():
        return bone
    around = ndimage.distance_transform_edt(~bone, spacing) <= _CLOSED_MM
    if around.all():
        return np.asarray(around)
    return np.asarray(ndimage.distance_transform_edt(around, spacing) > _CLOSED_MM - margin_mm)


def _soft_edge(inside: np.ndarray, spacing: Values) -> Values:
    """1 inside, 0 outside, blurred between them as a scanner does."""
    return np.asarray(ndimage.gaussian_filter(inside.astype(np.float32), 0.7 / spacing))


def _painted(hu: Values, share: Values, colour: Values) -> Values:
    return np.asarray(hu + share * (colour - hu), np.float32)


def _field(rng: np.random.Generator, extent_mm: Values, wave_mm: float) -> Values:
    """A smooth random field of mean 0 over a box, its hills about as wide as asked, in steps of `_STEP_MM`."""
    knot_mm = 0.5 * wave_mm
    knots = np.ceil(extent_mm / knot_mm).astype(int) + 3
    coarse = torch.from_numpy(rng.normal(0, 1, knots).astype(np.float32))[None, None]
    fine = np.ceil((knots - 1) * knot_mm / _STEP_MM).astype(int)
    smooth = torch.nn.functional.interpolate(coarse, size=fine.tolist(), mode="trilinear", align_corners=True)[0, 0]
    wanted = np.ceil(extent_mm / _STEP_MM).astype(int) + 1
    start = rng.integers(0, fine - wanted + 1)
    part = smooth.numpy()[tuple(slice(at, at + size) for at, size in zip(start, wanted, strict=True))]
    return np.asarray(ndimage.gaussian_filter(part, 0.1 * wave_mm / _STEP_MM))


def _spread(field: Values, shape: tuple[int, ...]) -> Values:
    """A field on the grid of the image."""
    whole = torch.from_numpy(np.ascontiguousarray(field))[None, None]
    return np.asarray(torch.nn.functional.interpolate(whole, size=shape, mode="trilinear", align_corners=True)[0, 0])


def _tube_distance(rng: np.random.Generator, shape: tuple[int, ...], spacing: Values, wave_mm: float) -> Values:
    """About how far, in mm, each voxel lies from the curves where two random fields are both 0."""
    far = np.zeros(shape, np.float32)
    for _ in range(2):
        field = _field(rng, spacing * shape, wave_mm)
        slope = np.sqrt(sum(part**2 for part in np.gradient(field, _STEP_MM)))
        far += _spread(field / np.maximum(slope, 0.25 * float(slope.mean()) + 1e-6), shape) ** 2
    return np.sqrt(far)


def _tube(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: Values, wave_mm: float, radius_mm: float
) -> Values:
    """1 in curved tubes of a radius, 0 outside."""
    return np.asarray(np.clip(radius_mm - _tube_distance(rng, shape, spacing, wave_mm) + 0.5, 0, 1))


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
