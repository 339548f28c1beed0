"""Integrals of a volume along every ray of a cone beam, slab by slab, and the exact shadow of a voxel mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch.nn import functional

from radseg.transforms.radiography.cone_beam import ConeBeam

Method = Literal["joseph", "siddon"]
_RAYS_AT_ONCE = 1 << 18
_PARALLEL = 1e-12
_BEYOND_MM = 1e-3


def line_integrals(
    values_ijk: torch.Tensor | npt.NDArray[Any],
    affine_ras: torch.Tensor | npt.NDArray[Any],
    beam: ConeBeam,
    *,
    method: Method = "joseph",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Integrate the values along the rays from the source to each detector pixel.

    The volume is swept by the planes of voxels across each ray's main direction, so memory stays at a few numbers per
    ray whatever the volume's size. The same input gives the same bits on the same machine.

    - "joseph" interpolates linearly in each plane (Joseph, IEEE Trans. Med. Imaging 1(3):192, 1982): smooth, fastest.
    - "siddon" is the exact integral of voxels that are constant boxes (Siddon, Med. Phys. 12(2):252, 1985): within
      a slab a ray meets at most three voxels, whose lengths follow from where it crosses their sides.

    Args:
        values_ijk: (i, j, k); outside the volume the value is 0.
        affine_ras: 4×4, voxel index → RAS in mm, oblique and sheared ones too.
        beam: the geometry.
        method: "joseph" or "siddon".
        device: where to compute.
        dtype: float32 or float64 of the sums and of the result.

    Returns:
        (rows, columns) on `device`, value × mm.

    Raises:
        ValueError: not three axes, an affine that can't be inverted, an unknown method or a dtype that isn't floating.
    """
    values = torch.as_tensor(values_ijk)
    affine = torch.as_tensor(affine_ras, dtype=torch.float64).cpu()
    if values.ndim != 3 or affine.shape != (4, 4):
        raise ValueError(f"values are (i, j, k), the affine 4×4; got {tuple(values.shape)}, {tuple(affine.shape)}.")
    if method not in ("joseph", "siddon"):
        raise ValueError(f"method must be 'joseph' or 'siddon', got {method!r}.")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}.")
    if abs(torch.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError("the affine is singular: it doesn't place the voxels in space.")
    box = _occupied(values)
    if box is None:
        return torch.zeros(beam.rows, beam.columns, device=device, dtype=dtype)
    values = values[tuple(slice(first, last) for first, last in box)].to(device)
    to_voxels = torch.linalg.inv(affine)
    first_voxel = torch.tensor([first for first, _ in box], dtype=torch.float64)
    source = to_voxels[:3, :3] @ beam.source_ras + to_voxels[:3, 3] - first_voxel
    rows_at_once = max(1, _RAYS_AT_ONCE // beam.columns)
    bands = []
    for row in range(0, beam.rows, rows_at_once):
        pixels = beam.pixel_centres_ras(row, min(row + rows_at_once, beam.rows)) - beam.source_ras
        ways = (pixels.reshape(-1, 3) @ to_voxels[:3, :3].T).to(device)
        bands.append(_integrals_along(values, affine[:3, :3].to(device), source.to(device), ways, method, dtype))
    return torch.cat(bands).reshape(beam.rows, beam.columns)


def projected_mask(
    mask_ijk: torch.Tensor | npt.NDArray[Any],
    affine_ras: torch.Tensor | npt.NDArray[Any],
    beam: ConeBeam,
    *,
    longer_than_mm: float = _BEYOND_MM,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """The exact shadow of a mask: the pixels whose ray runs through its voxels for more than `longer_than_mm`.

    Args:
        mask_ijk: (i, j, k); voxels other than 0 belong to the mask.
        affine_ras: 4×4, voxel index → RAS in mm.
        beam: the geometry.
        longer_than_mm: 0.001 mm keeps rays out that only touch a voxel's side.
        device: where to compute.

    Returns:
        (rows, columns), bool, on `device`.

    Raises:
        ValueError: as `line_integrals`.
    """
    mask = torch.as_tensor(mask_ijk) != 0
    inside_mm = line_integrals(mask, affine_ras, beam, method="siddon", device=device, dtype=torch.float64)
    return inside_mm > longer_than_mm


def _occupied(values: torch.Tensor) -> list[tuple[int, int]] | None:
    """First and one past the last index along each axis of what isn't 0; nothing else needs a visit."""
    there = values != 0
    over_first, over_last = there.any(dim=0), there.any(dim=2)
    box = []
    for line in (over_last.any(dim=1), over_last.any(dim=0), over_first.any(dim=0)):
        indices = torch.nonzero(line).squeeze(1)
        if indices.numel() == 0:
            return None
        box.append((int(indices[0]), int(indices[-1]) + 1))
    return box


def _integrals_along(
    values: torch.Tensor,
    matrix: torch.Tensor,
    source: torch.Tensor,
    ways: torch.Tensor,
    method: Method,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Integrals (rays) from `source` along `ways` (rays, 3), both in voxels; `matrix` turns voxels into mm."""
    integrals = torch.zeros(len(ways), device=ways.device, dtype=dtype)
    meets = _meets_box(source, ways, values.shape)
    main_axis = ways.abs().argmax(dim=1)
    for axis in range(3):
        rays = torch.nonzero(meets & (main_axis == axis)).squeeze(1)
        if len(rays) == 0:
            continue
        # planes whose rows lie together in memory are copied fastest
        others = sorted({0, 1, 2} - {axis}, key=values.stride, reverse=True)
        order = [axis, *others]
        integrals[rays] = _sweep(
            values.permute(order), source[order], ways[rays][:, order], matrix[:, order], method, dtype
        )
    return integrals


def _meets_box(source: torch.Tensor, ways: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """(rays), whether a ray comes within a voxel of the volume between the source and its pixel."""
    low = torch.full((3,), -1.5, dtype=torch.float64, device=ways.device)
    high = torch.tensor(shape, dtype=torch.float64, device=ways.device) + 0.5
    slopes = torch.where(ways.abs() < _PARALLEL, torch.full_like(ways, _PARALLEL), ways)
    at_low, at_high = (low - source) / slopes, (high - source) / slopes
    enters = torch.minimum(at_low, at_high).amax(dim=1)
    leaves = torch.maximum(at_low, at_high).amin(dim=1)
    return (enters <= leaves) & (leaves >= 0) & (enters <= 1)


def _sweep(
    planes: torch.Tensor,
    source: torch.Tensor,
    ways: torch.Tensor,
    matrix: torch.Tensor,
    method: Method,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Integrals along `ways` (rays, 3), whose first component is the largest, through `planes` (slab, u, v)."""
    reach = ways[:, 0]
    slopes = ways / reach[:, None]
    mm_per_slab: torch.Tensor = torch.linalg.vector_norm(slopes @ matrix.T, dim=1).to(dtype)
    at_first_plane = source[1:] - source[0] * slopes[:, 1:]
    in_slabs = _linear_in_planes if method == "joseph" else _boxes_in_slabs
    ends = torch.stack([(slab - source[0]) / reach for slab in (-0.5, len(planes) - 0.5)])
    clipped = bool(ends.min() < 0) or bool(ends.max() > 1)
    totals = torch.zeros(len(ways), device=ways.device, dtype=dtype)
    for slab, inside in enumerate(in_slabs(planes, at_first_plane, slopes[:, 1:], dtype)):
        if clipped:  # the volume reaches behind the source or the detector
            share = (slab - source[0]) / reach
            inside = inside * ((share >= 0) & (share <= 1))
        totals += inside
    return totals * mm_per_slab


def _linear_in_planes(
    planes: torch.Tensor, at_first: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype
) -> Iterator[torch.Tensor]:
    """For each plane (u, v) its values (rays) where the rays cross it, bilinear, 0 outside.

    Args:
        planes: (slab, u, v).
        at_first: (rays, 2), where the rays cross the first plane.
        slopes: (rays, 2), how far u and v go from a plane to the next.
        dtype: of the values.
    """
    count, (height, width) = len(at_first), planes.shape[1:]
    # grid_sample wants (v, u) from −1 to 1 over the voxels' outer sides, and gives each image of a batch to a thread
    workers = max(1, min(torch.get_num_threads(), count // 1024)) if at_first.device.type == "cpu" else 1
    scale = torch.tensor([2 / height, 2 / width], device=at_first.device, dtype=torch.float64)
    layout = (workers, 1, -1, 2)
    fill = (0, 0, 0, -count % workers)
    base = functional.pad(((at_first + 0.5) * scale - 1).flip(1), fill).to(dtype).reshape(layout)
    step = functional.pad((slopes * scale).flip(1), fill).to(dtype).reshape(layout)
    for slab in range(len(planes)):
        plane = planes[slab].to(dtype).contiguous()
        grid = torch.add(base, step, alpha=slab)  # not step by step: sums of roundings would let the rays drift
        images = plane.expand(workers, 1, height, width)
        yield functional.grid_sample(images, grid, align_corners=False).reshape(-1)[:count]


def _boxes_in_slabs(
    planes: torch.Tensor, at_first: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype
) -> Iterator[torch.Tensor]:
    """For each slab the mean value (rays) of its boxes (u, v) along the rays through it, 0 outside.

    A ray that leaves its row after the share f_u of the slab and its column after f_v passes at most three boxes.

    Args:
        planes: (slab, u, v).
        at_first: (rays, 2), where the rays cross the middle of the first slab.
        slopes: (rays, 2), at most 1 in size.
        dtype: of the values.
    """
    height, width = planes.shape[1:]
    u = _Crossings(at_first[:, 0], slopes[:, 0], height, dtype)
    v = _Crossings(at_first[:, 1], slopes[:, 1], width, dtype)
    across = width + 2  # a border of one zero all around takes all that is outside
    box_in = torch.add(v.box, u.box, alpha=across)
    for slab in range(len(planes)):
        flat = functional.pad(planes[slab].to(dtype), (1, 1, 1, 1)).reshape(-1)
        row_in, column_in = u.box, v.box
        f_u, f_v = u.through(slab), v.through(slab)
        box_out = torch.add(v.box, u.box, alpha=across)
        row_first = torch.add(column_in, u.box, alpha=across)
        column_first = torch.add(v.box, row_in, alpha=across)
        box_between = torch.where(f_u < f_v, row_first, column_first)
        value_in, value_between, value_out = (flat.index_select(0, box) for box in (box_in, box_between, box_out))
        inside = torch.addcmul(value_out, torch.minimum(f_u, f_v), value_in - value_between)
        yield inside.addcmul_(torch.maximum(f_u, f_v), value_between - value_out)
        box_in = box_out


class _Crossings:
    """Follows the rays along one axis of the planes: the box that each is in, and where in a slab it leaves it."""

    def __init__(self, at_first: torch.Tensor, slopes: torch.Tensor, length: int, dtype: torch.dtype) -> None:
        self.length = length
        self.base = (at_first - slopes / 2).to(dtype)
        self.slopes = slopes.to(dtype)
        steep = torch.where(slopes.abs() < _PARALLEL, torch.full_like(slopes, _PARALLEL), slopes)
        self.per_slope = (1 / steep).to(dtype)
        self.half = (0.5 * torch.sign(steep)).to(dtype)
        self.enters = self.base
        self.whole = torch.round(self.base)
        self.box = self._index()

    def through(self, slab: int) -> torch.Tensor:
        """Goes to the slab's far side; returns the share of the slab (rays) that the ray stays in its box."""
        to_side = (self.whole - self.enters).add_(self.half)
        self.enters = torch.add(self.base, self.slopes, alpha=slab + 1)
        self.whole = torch.round(self.enters)
        self.box = self._index()
        return to_side.mul_(self.per_slope).clamp_(0, 1)

    def _index(self) -> torch.Tensor:
        return self.whole.clamp(-1, self.length).add_(1).to(torch.int32)
