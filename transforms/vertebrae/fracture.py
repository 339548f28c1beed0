"""A fracture made in an intact spine: one vertebral body of a labelled CT compressed as wedge, biconcave or crush."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from radseg.transforms.tracked import like, plain, tracked
from radseg.transforms.vertebrae.axis import FloatArray, grid_affine
from radseg.transforms.vertebrae.compression import KINDS, MOST_LOSS, Kind
from radseg.transforms.vertebrae.density import densify, thin
from radseg.transforms.vertebrae.hounsfield import checked_window
from radseg.transforms.vertebrae.reached import as_asked
from radseg.transforms.vertebrae.squeeze import carry, carry_labels, keep_whole, move, plan


class FractureVertebra(Transform):
    """Compress one vertebra of a CT and of its label map by one displacement field.

    The forms are Genant's (JBMR 8(9), 1993): a wedge falls in front, a biconcave body in the middle, a crushed one
    everywhere. The neighbours move along, a wedge turns them, and discs take up what is left, so that vertebrae move as
    a whole as far as the discs can; 100 mm beyond the neighbours, or at the image's edge, nothing moves. The loss is
    what the label map shows when it is measured again. Inside the body the mineral, what lies above fatty marrow in HU,
    is kept, so density rises as height falls; where a disc is stretched it falls. The field has a positive Jacobian:
    nothing tears or overlaps.

    Args:
        vertebra: its value in the label map, in which every vertebra has a value of its own; 1 and 2 stand for
            vertebrae that aren't told apart and are never neighbours.
        kind: ``"wedge"``, ``"biconcave"`` or ``"crush"``.
        loss: share lost of the anterior, middle or every height, 0 (nothing changes) to 0.6.
        label: the value that the vertebra gets afterwards; None keeps its own.
        spacing_mm: voxel spacing of arrays in RAS order; None takes the image's affine.
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.

    Raises:
        ValueError: a kind is unknown, or the loss, spacing or window isn't in range.
    """

    def __init__(
        self,
        vertebra: int,
        kind: Kind,
        loss: float,
        label: int | None = None,
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
        if not 0 <= loss <= MOST_LOSS:
            raise ValueError(f"loss must be a share of the height from 0 to {MOST_LOSS}, got {loss}.")
        self.vertebra, self.kind, self.loss = int(vertebra), kind, float(loss)
        self.label = self.vertebra if label is None else int(label)
        self.spacing_mm = spacing_mm
        self.window_hu = checked_window(window_hu)

    def __call__(self, image: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image and label map with the fracture; dtypes and metadata kept, the given ones left as they are.

        Args:
            image: CT in HU or in the window, (1, i, j, k).
            labels: label map on the same grid, (1, i, j, k).

        Raises:
            ValueError: the shapes differ or aren't (1, i, j, k), the map doesn't hold the vertebra, the image's edge
                cuts it off or is too near, it has no body that can be told, its voxels are too coarse for the height
                to be lost, or the spacing is unknown.
        """
        affine = affine_of(image, labels, self.spacing_mm)
        image, labels = tracked(image), tracked(labels)
        changed, named = plain(image).clone(), plain(labels).clone()
        if self.loss > 0:
            # views: what is written into them lies in the two clones
            values, numbers = changed.numpy()[0], named.numpy()[0]
            whole = integers(numbers)
            planned = plan(whole, affine, self.vertebra, self.kind, self.loss)
            compression = as_asked(planned, whole, affine, self.vertebra)
            moved = move(compression, affine, whole.shape)
            carried = carry_labels(whole[moved.box], moved, affine)
            keep_whole(carried, self.vertebra, whole[moved.box])
            fractured = carried == self.vertebra
            grey = carry(values[moved.box], moved, affine)
            thin(grey, carried, self.vertebra, compression, moved, affine, self.window_hu)
            densify(grey, fractured, compression, moved, affine, self.window_hu)
            numbers[moved.box] = np.where(fractured, self.label, carried)
            values[moved.box] = np.rint(grey) if np.issubdtype(values.dtype, np.integer) else grey
        else:
            named[named == self.vertebra] = self.label
        return like(changed, image), like(named, labels)


class FractureVertebrad(MapTransform):
    """Dictionary form of `FractureVertebra`.

    Args:
        image_key: key of the CT.
        label_key: key of the label map.
        vertebra: see `FractureVertebra`, like all that follow.
    """

    def __init__(
        self,
        vertebra: int,
        kind: Kind,
        loss: float,
        label: int | None = None,
        image_key: str = "image",
        label_key: str = "label",
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        super().__init__((image_key, label_key))
        self.fracture = FractureVertebra(vertebra, kind, loss, label, spacing_mm, window_hu)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the fracture in image and label map."""
        out = dict(data)
        image_key, label_key = self.keys
        out[image_key], out[label_key] = self.fracture(out[image_key], out[label_key])
        return out


def affine_of(image: torch.Tensor, labels: torch.Tensor, spacing_mm: Sequence[float] | None) -> FloatArray:
    """The voxel-to-RAS matrix (4, 4) of an image with its label map.

    Raises:
        ValueError: the shapes differ or aren't (1, i, j, k), or the spacing is unknown.
    """
    if image.shape != labels.shape or image.ndim != 4 or image.shape[0] != 1:
        shapes = f"{tuple(image.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"image and label map must be (1, i, j, k) of one shape, got {shapes}.")
    return grid_affine(np.asarray(image.affine) if isinstance(image, MetaTensor) else None, spacing_mm)


def integers(labels: np.ndarray) -> np.ndarray:
    """A label map as integers; ones of a floating type are rounded."""
    return labels if np.issubdtype(labels.dtype, np.integer) else np.rint(labels).astype(np.int16)
