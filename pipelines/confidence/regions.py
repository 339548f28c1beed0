"""Which regions of a mask are doubtful: how unsure its connected components are, and where members disagree."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.confidence.doubt import entropy_of
from radseg.pipelines.engine import Prediction
from radseg.pipelines.io import Volume
from radseg.transforms.slabs import Box, count_planes, foreground_box, slabs

MOST_REGIONS = 20
"""Of each label; the largest are told of."""

DOUBTFUL = 0.5
"""Mean entropy above which a region is called doubtful: that of a probability of 0.89 in each of its voxels."""

_TOUCHING = np.ones((3, 3, 3), dtype=bool)

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int32]


def doubtful_regions(prediction: Prediction, volume: Volume, labels: Sequence[str]) -> dict[str, Any]:
    """What `statistics.json` says of how sure each region is; nothing when the network's answer wasn't kept.

    A region is what hangs together by faces, edges or corners and has one label. Its `mean_entropy` is the mean over
    its voxels of what `radseg.pipelines.engine.combine.uncertainty` defines, 0…1 (`mean_disagreement` where the bundle
    asks for that part of it). Its `mean_probability` is that of its label, where probabilities were kept: those of
    pictures and of several members are. Of several members there is also the volume in which they, each by itself,
    don't all give the same label: inside the region and around it. What differs around a mask goes to the regions that
    it touches, in proportion to the faces that they share, and what touches none is `disagreement_elsewhere`.

    Args:
        prediction: the mask and what goes with it.
        volume: its image.
        labels: names of the labels 1, 2, ….

    Returns:
        "regions", a list of rows from the largest of the first label on, empty of an empty mask; "regions_left_out",
        how many smaller ones there are; of several members "disagreement" and "disagreement_elsewhere", each with
        "voxels" and, as far as the size of a voxel is known, "volume_ml" or "area_mm2".
    """
    doubt = entropy_of(prediction)
    if doubt is None:
        return {}
    box = _box_around(prediction.mask, prediction.differing)
    mask, doubt = prediction.mask[box], doubt[box]
    numbers, of_label = _numbered(mask, len(labels))
    sizes = np.bincount(of_label, minlength=len(labels) + 1)
    voxels, total = _sums(numbers, doubt, len(of_label))
    kept = prediction.probability
    kept = kept if kept is not None and len(kept) == len(labels) else None
    differing = None if prediction.differing is None else prediction.differing[box]
    shared, elsewhere = None, 0
    if differing is not None:
        shared, elsewhere = _shared_out(numbers, differing, len(of_label))
    where = ndimage.find_objects(numbers) if numbers.size else []
    rows = []
    for label, name in enumerate(labels, start=1):
        mine = np.flatnonzero(of_label == label)
        probable: npt.NDArray[np.float64] | None = None
        if kept is not None and mine.size:
            _, probable = _sums(numbers, kept[label - 1][box], len(of_label))
        largest = mine[np.argsort(-voxels[mine], kind="stable")][:MOST_REGIONS]
        for region in largest.tolist():
            mean = _mean(total, voxels, region)
            rows.append(
                {
                    "label": name,
                    **_amount(float(voxels[region]), volume),
                    **_centre(numbers, where[region - 1], region, box, volume),
                    **({} if probable is None else {"mean_probability": _mean(probable, voxels, region)}),
                    f"mean_{prediction.measure}": mean,
                    **({"doubtful": mean > DOUBTFUL} if prediction.measure == "entropy" else {}),
                    **({} if shared is None else {"disagreement": _amount(float(shared[region]), volume)}),
                }
            )
    told: dict[str, Any] = {"regions": rows, "regions_left_out": int(sizes[1:].sum()) - len(rows)}
    if shared is not None:
        told["disagreement"] = _amount(float(shared.sum()) + elsewhere, volume)
        told["disagreement_elsewhere"] = _amount(elsewhere, volume)
    return told


def _box_around(mask: Bytes, differing: Bytes | None) -> Box:
    boxes = [box for one in (mask, differing) if one is not None and (box := foreground_box(one)) is not None]
    if not boxes:
        return (slice(0, 0),) * 3
    sides = zip(*boxes, strict=True)
    return tuple(slice(min(one.start for one in side), max(one.stop for one in side)) for side in sides)


def _numbered(mask: Bytes, labels: int) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """Number of the region of each voxel, 0 of background, and the label of each number."""
    numbers = np.zeros(mask.shape, np.int32)
    of_label = [0]
    for label in range(1, labels + 1):
        here = mask == label
        found, count = ndimage.label(here, _TOUCHING)
        np.add(found, len(of_label) - 1, out=numbers, where=here)
        of_label += [label] * count
    return numbers, np.array(of_label, np.int64)


def _sums(numbers: Numbers, values: Bytes, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Voxels of each number, and the sum of values over them."""
    voxels, total = np.zeros(count, np.int64), np.zeros(count)
    for index, slab in slabs(numbers):
        voxels += np.bincount(slab.ravel(), minlength=count)
        total += np.bincount(slab.ravel(), values[index].ravel(), count)
    return voxels, total


def _mean(total: npt.NDArray[np.float64], voxels: npt.NDArray[np.int64], region: int) -> float:
    return round(float(total[region] / (255 * voxels[region])), 4)


def _shared_out(numbers: Numbers, differing: Bytes, count: int) -> tuple[npt.NDArray[np.float64], int]:
    """How many differing voxels each region has in and around it, and how many lie elsewhere."""
    _, inside = _sums(numbers, differing, count)
    around, pieces = ndimage.label((differing > 0) & (numbers == 0))
    sizes = np.bincount(around.ravel(), minlength=pieces + 1)
    faces: list[npt.NDArray[np.int64]] = []
    for axis in range(3):
        before, after = (slice(None),) * axis + (slice(None, -1),), (slice(None),) * axis + (slice(1, None),)
        for piece, region in ((around[before], numbers[after]), (around[after], numbers[before])):
            touch = (piece > 0) & (region > 0)
            faces.append(piece[touch].astype(np.int64) * count + region[touch])
    pairs, times = np.unique(np.concatenate(faces), return_counts=True)
    of_piece, of_region = np.divmod(pairs, count)
    touched = np.bincount(of_piece, times, pieces + 1)
    shares = sizes[of_piece] * times / touched[of_piece]
    inside[0] = 0
    elsewhere = int(sizes[1:][touched[1:] == 0].sum())
    return inside + np.bincount(of_region, shares, count), elsewhere


def _amount(voxels: float, volume: Volume) -> dict[str, float | int]:
    """Voxels, and how large they are as far as that is known."""
    told: dict[str, float | int] = {"voxels": round(voxels)}
    if volume.spacing_known and volume.is_picture:
        told["area_mm2"] = round(voxels * volume.spacing_mm[0] * volume.spacing_mm[1], 1)
    elif volume.spacing_known:
        told["volume_ml"] = round(voxels * abs(float(np.linalg.det(volume.affine_ras[:3, :3]))) / 1000, 3)
    return told


def _centre(numbers: Numbers, where: Box, region: int, box: Box, volume: Volume) -> dict[str, list[float]]:
    """Centre of mass: RAS in mm, of a picture its column and row in pixels from 0."""
    along = count_planes((numbers[where] == region).view(np.uint8))
    index = [
        outer.start + inner.start + float(np.average(np.arange(len(counts)), weights=counts))
        for outer, inner, counts in zip(box, where, along, strict=True)
    ]
    if volume.is_picture:
        return {"centre_pixel": [round(value, 1) for value in index[:2]]}
    place = volume.affine_ras[:3] @ np.array([*index, 1.0])
    return {"centre_ras_mm": [round(float(value), 1) for value in place]}
