"""What the viewer of a case's page draws: image, mask and doubt, packed into text, and how to show them."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.pipelines.io.gzip_stream import gzip_writer
from radseg.pipelines.io.volume import format_mm
from radseg.pipelines.report.case_page.reduced import reduce_blocks, reduced_affine, steps_within
from radseg.pipelines.report.preview import COLORS
from radseg.transforms.slabs import count_planes

MOST_VOXELS = 40_000_000
MOST_PIXELS = 16_000_000
MOST_CHARACTERS = 56_000_000
"""Of the packed image: with NiiVue and the mask, a page stays below about 60 MB."""

_WINDOWS_HU = (("Lung", -600.0, 1500.0), ("Bone", 400.0, 1800.0), ("Soft tissue", 50.0, 400.0), ("Brain", 40.0, 80.0))
"""Name, centre and width as they are set at most CT workstations."""
_GREYS = 16  # steps of a picture's grey value: 12 bits in all, as detectors give
_PLANES = ("Sagittal", "Coronal", "Axial")


@dataclass(frozen=True)
class Scene:
    """What the viewer draws.

    Attributes:
        packed: base64 of gzip of NIfTI-1: "image" (int16), "mask" and maybe "uncertainty" (uint8), all on one grid in
            RAS order; of a picture (column, row, 1), both reversed, as an axial slice lies.
        said: how to show them, as JSON takes it.
        note: that and how the image was reduced, "" when it is whole.
    """

    packed: Mapping[str, str]
    said: Mapping[str, Any]
    note: str = ""


def scene_of(
    volume: Volume,
    mask: npt.NDArray[np.uint8],
    uncertainty: npt.NDArray[np.uint8] | None,
    labels: Sequence[str],
    window_hu: tuple[float, float],
) -> Scene:
    """The scene of a case.

    A volume of more than `MOST_VOXELS` (a picture of more than `MOST_PIXELS`), or one that can't be packed into
    `MOST_CHARACTERS`, is reduced by whole voxels: mean of the image, largest label and largest uncertainty, so that a
    small lesion doesn't vanish. HU are rounded to whole numbers, greys to a sixteenth.

    Args:
        volume: the image.
        mask: labels on its grid.
        uncertainty: 0–255 for 0–1 on its grid, if known.
        labels: names of the labels 1, 2, ….
        window_hu: lower and upper HU that the page opens with.
    """
    most = MOST_PIXELS if volume.is_picture else MOST_VOXELS
    scale = 1.0 if volume.units == "HU" else 1.0 / _GREYS
    while True:
        steps = steps_within(volume.array.shape, volume.spacing_mm, most)
        image = reduce_blocks(volume.array, steps, "mean", np.int16, 1 / scale)
        grid = _Grid(reduced_affine(volume.affine_ras, steps), image.shape)
        packed = {"image": grid.pack(image, scale)}
        if len(packed["image"]) <= MOST_CHARACTERS:
            break
        most = int(image.size * 0.9 * MOST_CHARACTERS / len(packed["image"]))
    small = reduce_blocks(mask, steps, "largest", np.uint8)
    packed["mask"] = grid.pack(small)
    if uncertainty is not None:
        packed["uncertainty"] = grid.pack(reduce_blocks(uncertainty, steps, "largest", np.uint8), 1 / 255)
    thin = [axis for axis, length in enumerate(grid.shape_ras) if length == 1]
    said = {
        "kind": "picture" if volume.is_picture else "volume",
        "flat": _PLANES[thin[-1]] if thin else "",
        "unit": volume.units,
        "labels": [
            {"value": value, "name": name, "color": _color(value)} for value, name in enumerate(labels, start=1)
        ],
        "presets": _windows_hu(window_hu) if volume.units == "HU" else _windows_grey(image, scale),
        "preset": 4 if volume.units == "HU" else 0,
        "start": _start(grid.to_ras(small)),
        "uncertainty": uncertainty is not None,
    }
    return Scene(packed, said, _note(volume, steps))


class _Grid:
    """Where voxels lie, and the way from their stored order to right, anterior, superior.

    Args:
        affine: of the stored order, voxel → RAS mm.
        shape: of the stored order.
    """

    def __init__(self, affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> None:
        self.orientation = nib.orientations.io_orientation(affine)
        self.affine_ras = affine @ nib.orientations.inv_ornt_aff(self.orientation, shape)
        self.shape_ras = tuple(shape[axis] for axis in np.argsort(self.orientation[:, 0]))

    def to_ras(self, voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of the voxels in RAS order."""
        turned: npt.NDArray[Any] = nib.orientations.apply_orientation(voxels, self.orientation)
        return turned

    def pack(self, voxels: npt.NDArray[Any], slope: float = 1.0) -> str:
        """A NIfTI-1 file of the voxels in RAS order, as base64 of gzip."""
        header = nib.Nifti1Header()
        header.set_data_dtype(voxels.dtype)
        header.set_data_shape(self.shape_ras)
        header.set_sform(self.affine_ras, code=1)
        header.set_qform(self.affine_ras, code=1)
        header.set_xyzt_units(xyz="mm")
        header.set_slope_inter(slope, 0.0)
        packed = io.BytesIO()
        with gzip_writer(packed) as stream:
            header.write_to(stream)
            turned = self.to_ras(voxels)
            for plane in range(turned.shape[2]):
                stream.write(turned[..., plane].tobytes(order="F"))
        return base64.b64encode(packed.getbuffer()).decode("ascii")


def _start(mask_ras: npt.NDArray[np.uint8]) -> list[int]:
    """The voxel to open at: planes with most labelled voxels, as in the preview, else the middle ones."""
    return [int(np.argmax(counts)) if counts.any() else len(counts) // 2 for counts in count_planes(mask_ras)]


def _windows_hu(preview: tuple[float, float]) -> list[list[Any]]:
    known = [[name, centre - width / 2, centre + width / 2] for name, centre, width in _WINDOWS_HU]
    return [*known, ["As in the preview", *preview]]


def _windows_grey(image: npt.NDArray[np.int16], scale: float) -> list[list[Any]]:
    low, high = (round(float(end) * scale, 1) for end in np.percentile(image[::4, ::4], (1, 99)))
    return [
        ["All greys", 0.0, 255.0],
        ["Contrast", low, max(high, low + 1)],
        ["Dark parts", 0.0, 110.0],
        ["Bright parts", 110.0, 255.0],
        ["Inverted", 255.0, 0.0],
    ]


def _color(value: int) -> list[int]:
    """Red, green and blue of a label, as in the preview."""
    color = COLORS[(value - 1) % len(COLORS)]
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def _note(volume: Volume, steps: tuple[int, int, int]) -> str:
    if max(steps) == 1:
        return ""
    axes = 2 if volume.is_picture else 3
    blocks, size = ("×".join(str(length) for length in lengths[:axes]) for lengths in (steps, volume.array.shape))
    what = "pixels" if volume.is_picture else "voxels"
    shown = np.multiply(volume.spacing_mm, steps)[:axes]
    mm = f" ({format_mm(shown)})" if volume.spacing_known else ""
    return (
        f"Reduced for this page: of {size} {what}, blocks of {blocks} are shown as one{mm}, so that labels may look "
        "larger by up to a block. The mask's own file has every voxel, and the numbers are of that."
    )
