"""Resample an image to a voxel spacing along its own axes, keeping its field of view, and back to the source grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep
from nibabel.orientations import io_orientation

from radseg.transforms.regrid import Regrid, Regridd, checked_mode
from radseg.transforms.slabs import memory_axes
from radseg.transforms.threads import in_threads
from radseg.transforms.tracked import like, plain, tracked

_LINEAR_BY_DIMS = {1: "linear", 2: "bilinear"}
_DIRECTION = {"R": "R", "L": "R", "A": "A", "P": "A", "S": "S", "I": "S"}
_SLAB_VOXELS = 1 << 18  # a slice of 512² at a time: it stays in the cache
_SAME_SPACING = 1e-3  # relative; above what float32 headers differ by, below any real difference of grids


class ResampleToSpacing(Regrid):
    """Resample an image to a spacing in mm; the new affine is exact.

    The outer borders of the first and last voxel stay where they are in the world, so that the inverse covers every
    source voxel. An axis of length ``n · s`` mm gets ``m = round(n · s / t)`` voxels (at least one), and its true
    spacing ``n · s / m`` stands in the affine; it is off the wanted ``t`` by at most ``t / 2m``. Orientation, obliquity
    and shear stay, because only the voxel axes are scaled. Where MONAI's ``Spacing`` moves every voxel through a
    general affine grid, this interpolates along the axes, in a fraction of the time and memory. It goes through a
    volume slab by slab, so that an image of any type, also a memory-mapped one, is never as a whole made float32.

    Works with ``Invertd``: an image resampled linearly has its predicted mask brought back by nearest neighbour.

    Args:
        spacing_mm: wanted spacing, one number for all axes or one per axis.
        mode: ``"linear"`` (result float32) or ``"nearest"`` (dtype kept; for labels).
        axcodes: the patient axes to which the numbers of ``spacing_mm`` belong, such as ``"RAS"``; ``None`` counts the
            image's own axes. With it the same grid comes out whether ``Orientation`` runs before or, on an image that
            may be many times smaller, after; the image isn't turned.

    Raises:
        ValueError: a spacing isn't positive, the mode is unknown, or ``axcodes`` don't name each direction once.
    """

    def __init__(self, spacing_mm: float | Sequence[float], mode: str = "linear", axcodes: str | None = None) -> None:
        spacing = tuple(spacing_mm) if isinstance(spacing_mm, Sequence) else (spacing_mm,)
        if not spacing or not all(s > 0 for s in spacing):
            raise ValueError(f"spacing_mm must be positive, got {spacing_mm}.")
        self.spacing_mm = tuple(float(s) for s in spacing)
        self.mode = checked_mode(mode)
        if axcodes is not None and sorted(_DIRECTION.get(code, "") for code in axcodes) != ["A", "R", "S"]:
            raise ValueError(f"axcodes must be three letters such as RAS, got {axcodes!r}.")
        self.axcodes = axcodes

    def __call__(
        self, image: torch.Tensor, mode: str | None = None, spatial_size: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Return the resampled image of a ``MetaTensor`` (C, H, W) or (C, H, W, D).

        Args:
            image: the image, with its spacing in the affine.
            mode: overrides the transform's own mode.
            spatial_size: voxels along each axis, in place of the number that follows from the spacing.

        Raises:
            TypeError: the image is no ``MetaTensor``, so its spacing isn't known.
            ValueError: the affine has a zero or undefined spacing, or ``spacing_mm`` another number of axes.
        """
        mode = self.mode if mode is None else checked_mode(mode)
        source_spacing = spacing_of(image)
        source_size = tuple(image.shape[1:])
        if spatial_size is None:
            size = self.size_for(source_size, source_spacing, getattr(image, "affine", None))
        else:
            size = tuple(spatial_size)
        return self.resized(tracked(image), size, mode)

    def interpolated(self, image: torch.Tensor, size: Sequence[int], mode: str) -> torch.Tensor:
        """Return the image with that spatial size."""
        return _interpolated(image, tuple(size), mode)

    def size_for(
        self, source_size: Sequence[int], source_spacing: Sequence[float], affine: torch.Tensor | None = None
    ) -> tuple[int, ...]:
        """Return the number of voxels along each axis for a source of that size and spacing in mm.

        Args:
            source_size: voxels along each axis.
            source_spacing: mm along each axis.
            affine: voxel to RAS in mm, for ``axcodes``.
        """
        wanted = self.spacing_mm * len(source_size) if len(self.spacing_mm) == 1 else self.spacing_mm
        if len(wanted) != len(source_size):
            raise ValueError(f"spacing_mm has {len(wanted)} axes, the image {len(source_size)}.")
        if self.axcodes is not None and affine is not None and len(set(wanted)) > 1:
            along = io_orientation(affine.numpy(force=True))[:, 0].astype(int)
            named = [_DIRECTION[code] for code in self.axcodes]
            wanted = tuple(wanted[named.index("RAS"[axis])] for axis in along)
        return tuple(
            n if abs(s / t - 1) < _SAME_SPACING else max(1, round(n * s / t))
            for n, s, t in zip(source_size, source_spacing, wanted, strict=True)
        )


class ResampleToSpacingd(Regridd):
    """Dictionary form of `ResampleToSpacing`: entries that share a source grid share the new one.

    Args:
        keys: the entries to resample.
        spacing_mm: wanted spacing, one number for all axes or one per axis.
        mode: one for all keys or one per key, e.g. ``("linear", "nearest")`` for an image and its label.
        allow_missing_keys: leave out keys that a dictionary doesn't have.
        axcodes: the patient axes to which the numbers of ``spacing_mm`` belong; ``None`` counts the image's own axes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing_mm: float | Sequence[float],
        mode: str | Sequence[str] = "linear",
        allow_missing_keys: bool = False,
        axcodes: str | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.regrid = ResampleToSpacing(spacing_mm, axcodes=axcodes)
        self.mode = tuple(checked_mode(m) for m in ensure_tuple_rep(mode, len(self.keys)))

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the entries at ``keys`` resampled."""
        out = dict(data)
        first: tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]] | None = None
        for key, mode in self.key_iterator(out, self.mode):
            source_size, spacing = tuple(out[key].shape[1:]), spacing_of(out[key])
            # a label whose header was rounded differently must not end one voxel longer than its image
            shared = first is not None and source_size == first[0] and _same_spacing(spacing, first[1])
            out[key] = self.regrid(out[key], mode, first[2] if shared and first else None)
            first = first or (source_size, spacing, tuple(out[key].shape[1:]))
        return out


def spacing_of(image: torch.Tensor) -> tuple[float, ...]:
    """Return the spacing in mm along each spatial axis of a channel-first ``MetaTensor``.

    Raises:
        TypeError: the image is no ``MetaTensor``.
        ValueError: a spacing is zero or undefined.
    """
    if not isinstance(image, MetaTensor):
        raise TypeError("resampling needs a MetaTensor: a plain tensor has no spacing.")
    columns = image.affine[:-1, : image.ndim - 1].to(torch.float64)
    spacing = tuple(torch.linalg.vector_norm(columns, dim=0).tolist())
    if not all(0 < s < float("inf") for s in spacing):
        raise ValueError(f"the affine's spacing must be positive, got {spacing} mm.")
    return spacing


def _interpolated(image: torch.Tensor, size: tuple[int, ...], mode: str) -> torch.Tensor:
    values = plain(image)
    if mode == "nearest":
        for axis, (n, m) in enumerate(zip(image.shape[1:], size, strict=True), start=1):
            if n != m:
                values = values.index_select(axis, _nearest_voxels(n, m).to(values.device))
    elif tuple(image.shape[1:]) == size:
        values = values.to(torch.float32, copy=True)  # never the source itself: what follows may write to it
    elif len(size) == 3:
        values = _trilinear(values, size)
    else:
        values = F.interpolate(
            values.to(torch.float32)[None], size=size, mode=_LINEAR_BY_DIMS[len(size)], align_corners=False
        )[0]
    return like(values, image)


def _trilinear(image: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Return the float32 image (C, *size), interpolated plane by plane, then between planes; laid out as the source is.

    The planes lie across the axis that is slowest in memory, so each part of the source is read once and in order.
    """
    axes = [axis + 1 for axis in memory_axes(image.shape[1:], image.stride()[1:])]
    planes = image.permute(0, *axes)
    m, *plane_size = (size[axis - 1] for axis in axes)
    resampled = planes.new_empty((m, len(image), *plane_size), dtype=torch.float32)
    parts = min(m, torch.get_num_threads())
    bounds = [m * part // parts for part in range(parts + 1)]
    in_threads(lambda part: _fill(resampled, planes, range(bounds[part], bounds[part + 1])), range(parts))
    back = [axes.index(axis) for axis in (1, 2, 3)]
    return resampled.movedim(1, 0).permute(0, *(axis + 1 for axis in back))


def _fill(resampled: torch.Tensor, planes: torch.Tensor, part: range) -> None:
    """Interpolate those of the new planes (m, C, h, w), from the source's planes (C, n, H, W)."""
    plane_size = tuple(resampled.shape[2:])
    lower, upper, weight = _neighbours(planes.shape[1], len(resampled))
    thickness = max(1, _SLAB_VOXELS // max(planes[:, 0].numel(), resampled[0].numel()))
    needed = sorted({*lower[part.start : part.stop], *upper[part.start : part.stop]})
    held: dict[int, torch.Tensor] = {}
    read = 0
    for new in part:
        while upper[new] not in held:
            wanted = needed[read : read + thickness]
            read += thickness
            source = planes[:, wanted[0] : wanted[-1] + 1]
            if len(wanted) < source.shape[1]:  # thinned so much that some planes aren't needed
                source = source[:, [k - wanted[0] for k in wanted]]
            slab = source.movedim(1, 0).to(torch.float32)
            if tuple(slab.shape[2:]) != plane_size:
                slab = F.interpolate(slab, size=plane_size, mode="bilinear", align_corners=False)
            held = {k: plane for k, plane in held.items() if k >= lower[new]} | dict(zip(wanted, slab, strict=True))
        torch.lerp(held[lower[new]], held[upper[new]], weight[new], out=resampled[new])


def _neighbours(n: int, m: int) -> tuple[list[int], list[int], list[float]]:
    """Return, for each of m new voxels, the source voxels before and behind its centre and the weight of the latter.

    In float32 and in the order of operations of ``F.interpolate``, so that weights are the same.
    """
    scale = torch.tensor(n, dtype=torch.float32) / m
    place = ((torch.arange(m, dtype=torch.float32) + 0.5) * scale - 0.5).clamp_(min=0)
    lower = place.long().clamp_(max=n - 1)
    upper = (lower + 1).clamp_(max=n - 1)
    return lower.tolist(), upper.tolist(), (place - lower).tolist()


def _nearest_voxels(n: int, m: int) -> torch.Tensor:
    """Return which of n source voxels holds the centre of each of m new ones, in whole numbers: nothing is rounded."""
    new = torch.arange(m)
    centre = (2 * new + 1) * n
    voxel = torch.div(centre, 2 * m, rounding_mode="floor")
    # centres on a border take turns between its sides: always the right one would shift a halved label by half a voxel
    on_border = (centre % (2 * m) == 0) & (new % 2 == 1)
    return voxel - on_border.long()


def _same_spacing(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(abs(x / y - 1) < _SAME_SPACING for x, y in zip(a, b, strict=True))
