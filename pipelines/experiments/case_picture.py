"""One tested case as a picture: the plane that shows most of the error, bare and with truth and prediction outlined."""

import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radseg.pipelines.io import Volume

# Okabe and Ito's orange and sky blue, both far from any grey; the lines differ too
TRUTH, PREDICTION = ("#E69F00", "-"), ("#56B4E9", (0, (3, 1.5)))

_PLANES = ("sagittal", "coronal", "axial")
_MOST_PIXELS = 1200  # along a side; more would only be shrunk
_LEAST_SHARE = 0.4  # of a side that stays in the picture, however small the label is
_MARGIN = 0.3  # around the label, of its own extent
_PANEL, _FOOT, _DPI = 3.2, 0.4, 150

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CasePicture:
    """A PNG, and which plane it shows in words."""

    png: bytes
    plane: str


def draw_case(volume: Volume, truth: Mask, prediction: Mask) -> CasePicture:
    """Draws the plane, of all sagittal, coronal and axial ones that hold truth, on which most mm² of it are wrong.

    It is shown as radiologists look at it (patient's right at the left, anterior or superior at the top), in true
    proportion, cut to the surroundings of the label. Without any truth it is the plane with most of the prediction,
    without any error that with most truth.

    Args:
        volume: the image.
        truth: where the label is, on the image's grid (i, j, k).
        prediction: where it was found, likewise.
    """
    codes = nib.orientations.io_orientation(volume.affine_ras)
    image, true, found = (
        nib.orientations.apply_orientation(array, codes) for array in (volume.array, truth, prediction)
    )
    spacing = np.linalg.norm(volume.affine_ras[:3, :3], axis=0)[np.argsort(codes[:, 0])]
    axis, position = _worst_plane(true, found, spacing)
    cut = (slice(None),) * axis + (position,)
    # RAS: the second remaining axis points up in the picture; the first to the picture's left (R) or its left (A)
    planes = [array[cut].T[::-1, ::-1] for array in (image, true, found)]
    width_mm, height_mm = (spacing[other] for other in range(3) if other != axis)
    rows, columns = _surroundings(planes[1] | planes[2])
    whole = planes[0].shape
    grey, true_part, found_part = (plane[rows, columns] for plane in planes)
    size = (grey.shape[0] * height_mm, grey.shape[1] * width_mm)
    plane = "" if volume.is_picture else f"{_PLANES[axis]}, slice {position + 1} of {image.shape[axis]}"
    if grey.shape != whole:
        plane = f"{plane}, part of it" if plane else "part of the image"
    return CasePicture(_draw(grey, true_part, found_part, size), plane)


def _worst_plane(truth: Mask, prediction: Mask, spacing: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Axis and position of the plane of truth with most mm² of error, else of label, else in the middle."""
    # where a prediction spreads over the whole image, a plane far from the truth would explain nothing
    reached = truth if truth.any() else prediction
    for wanted in (truth != prediction, reached):
        areas = []
        for axis in [2] if truth.shape[2] == 1 else [2, 0, 1]:
            others = tuple(other for other in range(3) if other != axis)
            per_plane = wanted.sum(axis=others) * reached.any(axis=others) * spacing[others[0]] * spacing[others[1]]
            position = int(np.argmax(per_plane))
            areas.append((float(per_plane[position]), axis, position))
        area, axis, position = max(areas, key=lambda one: one[0])
        if area > 0:
            return axis, position
    return 2, truth.shape[2] // 2


def _surroundings(label: Mask) -> tuple[slice, slice]:
    """Rows and columns around a label with a margin, never less than a share of each side; all of them without one."""
    slices = []
    for other in (1, 0):
        length = label.shape[1 - other]
        where = np.flatnonzero(label.any(axis=other))
        if not len(where):
            slices.append(slice(0, length))
            continue
        extent = int(where[-1] - where[0] + 1)
        wanted = min(length, max(round(extent * (1 + 2 * _MARGIN)), round(length * _LEAST_SHARE)))
        start = int(np.clip((where[0] + where[-1] + 1 - wanted) // 2, 0, length - wanted))
        slices.append(slice(start, start + wanted))
    return slices[0], slices[1]


def _draw(grey: npt.NDArray[Any], truth: Mask, prediction: Mask, size_mm: tuple[float, float]) -> bytes:
    step = -(-max(grey.shape) // _MOST_PIXELS)
    grey, truth, prediction = (plane[::step, ::step] for plane in (grey, truth, prediction))
    height = _PANEL * min(max(size_mm[0] / size_mm[1], 0.4), 1.6)
    with mpl.rc_context({"font.size": 12, "text.color": "white"}):
        figure = Figure(figsize=(2 * _PANEL + 0.1, height + _FOOT), facecolor="black")
        FigureCanvasAgg(figure)
        share = _FOOT / (height + _FOOT)
        # noise and metal would stretch the grey scale over values that nobody looks at
        low, high = np.percentile(grey.astype(np.float32), [1, 99.5])
        for left in (0.0, 0.505):
            axes = figure.add_axes((left, share, 0.495, 1 - share))
            axes.set_axis_off()
            axes.imshow(
                grey, cmap="gray", vmin=low, vmax=max(high, low + 1), extent=(0, size_mm[1], size_mm[0], 0),
                interpolation="nearest", aspect="equal",
            )  # fmt: skip
            if left:
                _outline(axes, truth, size_mm, TRUTH)
                _outline(axes, prediction, size_mm, PREDICTION)
        handles = [
            Line2D([], [], color=color, linestyle=style, linewidth=2, label=name)
            for name, (color, style) in (("truth", TRUTH), ("prediction", PREDICTION))
        ]
        figure.legend(handles=handles, loc="lower center", ncols=2, frameon=False, labelcolor="white")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=_DPI, facecolor="black", metadata={"Software": None})
        figure.clear()
    return stream.getvalue()


def _outline(axes: Axes, mask: Mask, size_mm: tuple[float, float], look: tuple[str, Any]) -> None:
    if not mask.any():
        return
    # a margin closes the outline of what touches the picture's edge
    height, width = size_mm[0] / mask.shape[0], size_mm[1] / mask.shape[1]
    x = (np.arange(-1, mask.shape[1] + 1) + 0.5) * width
    y = (np.arange(-1, mask.shape[0] + 1) + 0.5) * height
    axes.contour(x, y, np.pad(mask, 1).astype(float), [0.5], colors=look[0], linestyles=[look[1]], linewidths=1.6)
    axes.set(xlim=(0, size_mm[1]), ylim=(size_mm[0], 0))
