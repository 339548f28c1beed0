"""Heights counted in label maps, and spines with numbered vertebrae: cylinders, and the sample data's anatomy."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from radseg.sample_data.grid import Grid
from radseg.sample_data.spine_column import Spine, build_column
from radseg.sample_data.spine_vertebra import arch, body, local_position
from radseg.transforms.vertebrae.endplates import Body as FoundBody
from radseg.transforms.vertebrae.endplates import Heights

HALF_WIDTH, HALF_DEPTH, HEIGHT, DISC = 20.0, 15.0, 26.0, 8.0


@dataclass(frozen=True)
class NumberedSpine:
    """A CT in HU and its map of numbered vertebrae, both (i, j, k), with the voxel-to-RAS matrix."""

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]

    @property
    def tensors(self) -> tuple[MetaTensor, MetaTensor]:
        return tuple(  # type: ignore[return-value]
            MetaTensor(torch.from_numpy(one.copy())[None], affine=torch.from_numpy(self.affine))
            for one in (self.image, self.labels)
        )


@cache
def cylinders(vertebrae: int = 5, spacing: float = 1.5, margin_mm: float = 12.0) -> NumberedSpine:
    """Upright elliptic cylinders, 101 the lowest, with a bar behind each; RAS, what is counted along k is a height."""
    length = vertebrae * (HEIGHT + DISC) - DISC + 2 * margin_mm
    shape = [round(size / spacing) for size in (76.0, 104.0, length)]
    x, y, z = (
        (np.arange(count) + 0.5) * spacing - start for count, start in zip(shape, (38.0, 70.0, margin_mm), strict=True)
    )
    level, within = np.divmod(z, HEIGHT + DISC)
    bone = (within < HEIGHT) & (level >= 0) & (level < vertebrae)
    bodies = (x[:, None] / HALF_WIDTH) ** 2 + (y[None] / HALF_DEPTH) ** 2 < 1
    canal = (np.abs(x)[:, None] < 9) & (y[None] < -HALF_DEPTH) & (y[None] > -HALF_DEPTH - 12)
    behind = (np.abs(x)[:, None] < 13) & (y[None] <= -HALF_DEPTH + 2) & (y[None] > -HALF_DEPTH - 20) & ~canal
    labels = np.zeros(shape, np.uint8)
    pedicle = bone & (within > 0.5 * HEIGHT)
    number = (101 + level).astype(np.uint8)
    labels[:] = np.where(bodies[..., None] & bone, number, 0) + np.where(
        (behind & ~bodies)[..., None] & pedicle, number, 0
    )
    return NumberedSpine(_ct(labels), labels, np.diag([spacing, spacing, spacing, 1.0]))


@cache
def anatomical(size: float = 1.0, curvature: float = 1.0) -> NumberedSpine:
    """An intact lumbar spine of the sample data's shapes on a tilted grid; 100 + VerSe's number each (L2 is 121)."""
    grid = Grid(shape=(66, 80, 124), spacing_mm=(1.5, 1.5, 1.5), center_lps=(0.0, 20.0, 0.0), tilt_degrees=7.0)
    labels = np.zeros(grid.shape, np.uint8)
    nearest = np.zeros(grid.shape)
    position = tuple(np.broadcast_to(axis, grid.shape) for axis in grid.positions_lps())
    levels = {f"L{number}": 119 + number for number in range(1, 6)} | {
        f"T{number}": 107 + number for number in (11, 12)
    }
    for vertebra in build_column(Spine("L2", {}, size=size, curvature=curvature)):
        if vertebra.level not in levels:
            continue
        x, y, z = (part - middle for part, middle in zip(position, vertebra.center_lps, strict=True))
        near = x**2 + y**2 + z**2 < 75**2
        px, py, pz = (part[near] for part in position)
        local = local_position(vertebra, (px, py, pz))
        distance = np.full(grid.shape, np.inf)
        distance[near] = np.minimum(body(vertebra, local), arch(vertebra, local))
        mine = (distance < 0) & (distance < nearest)
        labels[mine], nearest[mine] = levels[vertebra.level], distance[mine]
    return NumberedSpine(_ct(labels), labels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine_lps)


def _ct(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bone of 180 HU in tissue of 40, with noise."""
    noise = np.random.default_rng(3).normal(0, 15, labels.shape)
    return (np.where(labels > 0, 180.0, 40.0) + noise).astype(np.float32)


def counted_heights(labels: NDArray[np.uint8], affine: NDArray[np.float64], vertebra: int, body: FoundBody) -> Heights:
    """Heights of a vertebra by counting what lies on lines through a body in front, in the middle and behind.

    The lines run along the axis that the given body has, whatever became of it, 0.8 of its half depth before and behind
    its middle; each height is the mean of nine lines up to 4 mm beside the midline.
    """
    right, up = np.linspace(-4, 4, 9), np.arange(-30, 30, 0.1)
    found = []
    for front in (0.8, 0.0, -0.8):
        line = np.stack(np.broadcast_arrays(right[:, None], front * body.half_depth_mm, up), axis=-1)
        points = line @ body.frame.axes + body.frame.origin_mm
        inverse = np.linalg.inv(affine)
        index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
        index = np.clip(index, 0, np.array(labels.shape) - 1)
        found.append(float((labels[tuple(np.moveaxis(index, -1, 0))] == vertebra).sum(axis=-1).mean()) * 0.1)
    return Heights(*found)
