"""Prepare a volume a few slices at a time, so that only these few are ever held at full size in floats."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform

from radseg.transforms.threads import in_threads
from radseg.transforms.tracked import plain, tracked

ArrayTransform = Callable[[torch.Tensor], torch.Tensor]
_WHOLE = 1e-3  # how far from a whole number of voxels a product of affines may be


class SliceBySlice(InvertibleTransform):
    """Apply array transforms to groups of slices of a volume (C, H, W, D) and put the results together.

    For transforms that treat slices alike and apart: turning and flipping (`Orientation`, `Flip`), resizing in the
    plane (`Resize` with −1 along the slices, `ResizeSlices`), windows, `CLAHE`, filters. The values are those of
    applying them to the whole. A transform that takes statistics of all slices together would give other ones.

    The result carries the trace of each inner transform with the sizes and affines of the whole volume, as a
    ``Compose`` of them would leave it, and ``Invertd`` or whoever reads traces undoes them one by one.

    Args:
        transforms: array transforms, in this order.
        slice_axis: spatial axis of the *result* along which its slices lie: 0, 1 or 2, or counted from the end.
        slices: how many at a time.

    Raises:
        ValueError: the axis isn't spatial, or there are no slices at a time.
    """

    def __init__(self, transforms: Sequence[ArrayTransform], slice_axis: int = -1, slices: int = 8) -> None:
        if slice_axis not in (-3, -2, -1, 0, 1, 2):
            raise ValueError(f"slice_axis must be a spatial axis of a volume (0 to 2 or -3 to -1), got {slice_axis}.")
        if slices < 1:
            raise ValueError(f"slices must be at least 1, got {slices}.")
        self.transforms = tuple(transforms)
        self.slice_axis = slice_axis % 3
        self.slices = slices

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the prepared image of a volume (C, H, W, D); its slices follow each other in memory.

        Raises:
            ValueError: the image isn't (C, H, W, D), or a transform mixes or changes the number of slices.
        """
        if image.ndim != 4:
            raise ValueError(f"SliceBySlice takes (C, H, W, D), got shape {tuple(image.shape)}.")
        if not get_track_meta():
            return self._applied(image)
        source = tracked(image)
        assert isinstance(source, MetaTensor)
        planned = self._planned(source)
        axis, reversed_ = self._source_axis(source, planned)
        values, count = source.as_tensor(), source.shape[axis + 1]

        def prepared(start: int) -> torch.Tensor:
            part = values.narrow(axis + 1, start, min(self.slices, count - start))
            return plain(self._applied(MetaTensor(part, meta=source.meta)))

        def put(start: int, done: torch.Tensor) -> None:
            length = done.shape[self.slice_axis + 1]
            out.narrow(self.slice_axis + 1, count - start - length if reversed_ else start, length).copy_(done)

        first = prepared(0)
        out = _slices_slowest(first, (first.shape[0], *planned.shape[1:]), self.slice_axis)
        put(0, first)
        in_threads(lambda start: put(start, prepared(start)), range(self.slices, count, self.slices))
        result: torch.Tensor = MetaTensor(out, meta=planned.meta, applied_operations=planned.applied_operations)
        return result

    def inverse(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image on the source grid, each inner transform undone, the last one first."""
        for transform in reversed(self.transforms):
            if isinstance(transform, InvertibleTransform):
                image = transform.inverse(image)
        return image

    def _applied(self, image: torch.Tensor) -> torch.Tensor:
        for transform in self.transforms:
            image = transform(image)
        return image

    def _planned(self, source: MetaTensor) -> MetaTensor:
        """Return shape, affine and traces of the result: what changes the grid runs on a tensor without values."""
        planned = MetaTensor(
            torch.empty(source.shape, device="meta"),
            meta=source.meta,
            applied_operations=list(source.applied_operations),
        )
        for transform in self.transforms:
            if isinstance(transform, InvertibleTransform):
                planned = transform(planned)
        return planned

    def _source_axis(self, source: MetaTensor, planned: MetaTensor) -> tuple[int, bool]:
        """Return the axis of the source that slices come from, and whether they come in reverse order."""
        step = torch.linalg.solve(source.affine.double(), planned.affine.double())[:3, self.slice_axis]
        axis = int(step.abs().argmax())
        alone = torch.zeros(3, dtype=torch.float64)
        alone[axis] = step[axis].sign()
        if (step - alone).abs().max() > _WHOLE or planned.shape[self.slice_axis + 1] != source.shape[axis + 1]:
            raise ValueError("a transform inside SliceBySlice mixes slices or changes their number.")
        return axis, bool(step[axis] < 0)


class SliceBySliced(MapTransform, InvertibleTransform):
    """Dictionary form of `SliceBySlice`; ``transforms`` are array transforms and the same for all keys."""

    def __init__(
        self,
        keys: KeysCollection,
        transforms: Sequence[ArrayTransform],
        slice_axis: int = -1,
        slices: int = 8,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.by_slice = SliceBySlice(transforms, slice_axis, slices)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the images at ``keys`` prepared."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.by_slice(out[key])
        return out

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the images at ``keys`` back on their source grids."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.by_slice.inverse(out[key])
        return out


def _slices_slowest(like: torch.Tensor, shape: tuple[int, ...], slice_axis: int) -> torch.Tensor:
    channels, *spatial = shape
    count = spatial.pop(slice_axis)
    return like.new_empty((channels, count, *spatial)).movedim(1, slice_axis + 1)
