"""One picture of a case: three planes through the labels, their outlines, and what they mean."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from radseg.pipelines.io import Volume
from radseg.transforms.slabs import count_planes

# Okabe and Ito's palette, which stays apart for the colour-blind and on grey
COLORS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7")

_MOST_PIXELS = 2000
_CHARACTERS_PER_INCH = 9
_HEIGHT, _PANEL_HEIGHT, _BOTTOM, _GAP = 5.2, 3.64, 0.83, 0.25
"""Of the figure, of a panel, of what is below the panels, and between them, in inches."""


def save_preview(
    file: Path,
    volume: Volume,
    mask: npt.NDArray[np.uint8],
    labels: Sequence[str],
    statistics: Mapping[str, Any],
    title: str,
    window_hu: tuple[float, float] = (-1000.0, 1000.0),
) -> None:
    """Draws axial, coronal and sagittal planes, or the one picture there is, with the outlines of all labels as PNG.

    Each plane is the one with most labelled voxels (the middle one when the mask is empty), shown as radiologists
    look at it: patient's right at the left of the picture, anterior or superior at the top, pixels in true proportion.

    Args:
        file: where the PNG is written.
        volume: the image; any orientation, shown along the axes nearest to the patient's.
        mask: labels on the grid of `volume`.
        labels: names of the labels 1, 2, ….
        statistics: result of the bundle's statistics, for the legend.
        title: stands above the planes.
        window_hu: lower and upper end of the grey scale for CT.
    """
    # a huge radiograph would cost gigabytes to draw, only to be shrunk
    step = -(-max(volume.array.shape) // _MOST_PIXELS) if volume.is_picture else 1
    image_ras, spacing = _to_ras(volume.array[::step, ::step], volume.affine_ras)
    mask_ras, _ = _to_ras(mask[::step, ::step], volume.affine_ras)
    low, high = window_hu if volume.units == "HU" else (0.0, 255.0)
    planes = ["axial"] if image_ras.shape[2] == 1 else ["axial", "coronal", "sagittal"]
    counts = count_planes(mask_ras)
    views = [_view(plane, image_ras, mask_ras, spacing, counts) for plane in planes]
    # a stack of few slices gives strips: they keep their proportions inside a panel of bearable width
    widths = [_PANEL_HEIGHT * min(max(view.width_mm / view.height_mm, 0.5), 1.8) for view in views]
    figure = Figure(figsize=(sum(widths) + _GAP * (len(views) + 1), _HEIGHT), facecolor="black")
    FigureCanvasAgg(figure)
    # one for all planes, in inches: each more would cost more time than what is drawn in it
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, figure.get_figwidth()), ylim=(0, _HEIGHT), autoscale_on=False)
    axes.set_axis_off()
    left = _GAP
    for view, width in zip(views, widths, strict=True):
        _draw(axes, view, (left, _BOTTOM, width, _PANEL_HEIGHT), (low, high), len(labels), volume)
        left += width + _GAP
    wrapped = textwrap.fill(title, int(figure.get_figwidth() * _CHARACTERS_PER_INCH))
    figure.suptitle(wrapped, color="white", fontsize=12, parse_math=False)
    handles = [
        Patch(color=COLORS[(value - 1) % len(COLORS)], label=_legend(name, statistics["labels"][name]))
        for value, name in enumerate(labels, start=1)
    ]
    legend = figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor="white")
    for entry in legend.get_texts():
        entry.set_parse_math(False)
    # a CT's noise hardly shrinks however long it is compressed
    figure.savefig(file, dpi=110, facecolor="black", pil_kwargs={"compress_level": 3})
    figure.clear()  # its parts refer to each other and would wait for the garbage collector


class _View:
    """One plane, rows from top to bottom as shown, its size in mm, and the letters of the patient's directions."""

    def __init__(
        self,
        name: str,
        image: npt.NDArray[Any],
        mask: npt.NDArray[np.uint8],
        size_mm: tuple[float, float],
        letters: str,
    ) -> None:
        self.name = name
        self.image = image
        self.mask = mask
        self.height_mm, self.width_mm = size_mm
        places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))  # left, right, top, bottom
        self.letters = [(letter, x, y) for letter, (x, y) in zip(letters, places, strict=True)]


def _draw(
    axes: Axes,
    view: _View,
    panel: tuple[float, float, float, float],
    grey: tuple[float, float],
    labels: int,
    volume: Volume,
) -> None:
    """A plane in the middle of its panel (left, bottom, width, height), as large as it can be in true proportion."""
    left, bottom, width, height = panel
    scale = min(width / view.width_mm, height / view.height_mm)
    width, height = view.width_mm * scale, view.height_mm * scale
    left, bottom = left + (panel[2] - width) / 2, bottom + (panel[3] - height) / 2
    place = (left, left + width, bottom, bottom + height)
    low, high = grey
    axes.imshow(view.image, cmap="gray", vmin=low, vmax=high, extent=place, interpolation="nearest", aspect="auto")
    for value in range(1, labels + 1):
        region = view.mask == value
        if region.any():
            color = COLORS[(value - 1) % len(COLORS)]
            axes.contour(region.astype(float), [0.5], colors=color, linewidths=1.2, extent=place, origin="upper")
    for text, x, y in view.letters if volume.units == "HU" else ():  # nobody knows how a picture was turned
        axes.text(
            left + x * width, bottom + y * height, text, color="white", fontsize=9, ha="center", va="center",
            bbox={"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 1.5},
        )  # fmt: skip
    name = "" if volume.is_picture else view.name
    axes.text(left + width / 2, bottom + height + 0.08, name, color="white", fontsize=10, ha="center")


def _view(
    plane: str,
    image: npt.NDArray[Any],
    mask: npt.NDArray[np.uint8],
    spacing: npt.NDArray[np.float64],
    labelled: Sequence[npt.NDArray[np.int64]],
) -> _View:
    """The plane of that name with most labelled voxels, given their number in each plane across each axis."""
    axis = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    others = tuple(other for other in range(3) if other != axis)
    counts = labelled[axis]
    position = int(np.argmax(counts)) if counts.any() else image.shape[axis] // 2
    cut = (slice(None),) * axis + (position,)  # np.take would copy a volume that isn't in C order
    cut_image, cut_mask = image[cut], mask[cut]
    # RAS: the second remaining axis points up in the picture; the first to the picture's left (R) or its left (A)
    shown_image, shown_mask = cut_image.T[::-1, ::-1], cut_mask.T[::-1, ::-1]
    size = (cut_image.shape[1] * spacing[others[1]], cut_image.shape[0] * spacing[others[0]])
    letters = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}[plane]
    name = plane if image.shape[2] == 1 else f"{plane}, slice {position + 1} of {image.shape[axis]}"
    return _View(name, shown_image, shown_mask, (float(size[0]), float(size[1])), letters)


def _to_ras(
    array: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    codes = nib.orientations.io_orientation(affine)
    turned = nib.orientations.apply_orientation(array, codes)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return turned, spacing[np.argsort(codes[:, 0])]


def _legend(name: str, row: Mapping[str, Any]) -> str:
    if "volume_ml" in row:
        return f"{name}: {row['volume_ml']:.1f} ml"
    if "area_mm2" in row:
        return f"{name}: {row['area_mm2'] / 100:.1f} cm²"
    return f"{name}: {100 * row['share_of_image']:.1f} % of the image"
