"""The panels of a case: image, truth, prediction and heat maps of one plane (as paper B's figure 10)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from radseg.pipelines.io import Volume
from radseg.pipelines.report.preview import COLORS

_IN_A_ROW = 4
_HEIGHT = 3.3  # of a panel, in inches
_MOST_PIXELS = 1500
_HEAT = "inferno"  # its lightness grows throughout: legible in grey print and for the colour-blind


@dataclass(frozen=True)
class Plane:
    """A plane of the source's grid: the axis that it lies across, and where along it."""

    axis: int
    position: int


def plane_of(region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float], axis: int | None) -> Plane:
    """The plane in which a region has the largest area in mm².

    Args:
        region: (i, j, k), not empty.
        spacing_mm: of i, j and k.
        axis: the only axis that planes are looked for across; None looks across all three.
    """
    best: tuple[float, Plane] | None = None
    for across in range(3) if axis is None else (axis,):
        others = tuple(other for other in range(3) if other != across)
        counts = np.count_nonzero(region, axis=others)
        position = int(np.argmax(counts))
        area = float(counts[position]) * spacing_mm[others[0]] * spacing_mm[others[1]]
        if best is None or area > best[0]:
            best = area, Plane(across, position)
    assert best is not None
    return best[1]


def save_panels(
    file: Path,
    volume: Volume,
    plane: Plane,
    prediction: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.uint8] | None,
    heat: Mapping[str, npt.NDArray[np.float32]],
    title: str,
    window_hu: tuple[float, float],
) -> None:
    """Draws one plane as PNG: the image, the truth if it is known, the prediction, and each heat map over the image.

    Shown as radiologists look at it: patient's right at the left, anterior or superior at the top, true proportions.

    Args:
        file: where the PNG is written.
        volume: the image.
        plane: which plane.
        prediction: labels of the plane, (i, j, k) of one voxel along the plane's axis.
        truth: likewise, None where it isn't known.
        heat: of each map by what stands above it, likewise, 0 to 1.
        title: stands above all.
        window_hu: lower and upper end of the grey scale for CT.
    """
    grey, aspect = _shown(_cut(volume.array, plane), volume, plane)
    low, high = window_hu if volume.units == "HU" else (0.0, 255.0)
    count = 2 + (truth is not None) + len(heat)
    columns = min(count, _IN_A_ROW)
    rows = -(-count // columns)
    ratio = min(max(grey.shape[1] / (grey.shape[0] * aspect), 0.4), 2.5)
    figure = Figure(
        (columns * _HEIGHT * ratio + 0.7, rows * (_HEIGHT + 0.35) + 0.4), facecolor="black", layout="constrained"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, color="white", fontsize=11, parse_math=False)
    places = figure.subplots(rows, columns, squeeze=False)
    axes = iter(places.ravel())

    def panel(name: str) -> Axes:
        axis: Axes = next(axes)
        axis.imshow(grey, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
        axis.set_title(name, color="white", fontsize=10, parse_math=False)
        axis.set_axis_off()
        return axis

    panel("image")
    labels = _shown(prediction, volume, plane)[0]
    if truth is not None:
        _fill(panel("truth" if truth.any() else "truth: none here"), _shown(truth, volume, plane)[0])
    _fill(panel("prediction" if prediction.any() else "prediction: none here"), labels)
    for name, values in heat.items():
        axis = panel(name)
        shown = np.clip(_shown(values, volume, plane)[0], 0, 1)
        axis.imshow(shown, cmap=_HEAT, vmin=0, vmax=1, alpha=0.75 * shown**0.5, aspect=aspect, interpolation="nearest")
        if labels.any():
            axis.contour(labels > 0, [0.5], colors=COLORS[0], linewidths=0.8)
    for axis in axes:
        axis.set_axis_off()
    if heat:
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), _HEAT), ax=places, fraction=0.03, pad=0.01)
        bar.ax.tick_params(colors="white", labelsize=7)
    figure.savefig(file, dpi=110, facecolor="black", pil_kwargs={"compress_level": 3})
    figure.clear()


def _fill(axis: Axes, labels: npt.NDArray[np.uint8]) -> None:
    """Each label's area in its colour over the image."""
    for value in np.unique(labels[labels > 0]).tolist():
        color = COLORS[(value - 1) % len(COLORS)]
        here = labels == value
        axis.contourf(here.astype(float), [0.5, 1.5], colors=[color], alpha=0.55)
        axis.contour(here.astype(float), [0.5], colors=color, linewidths=1.0)


def _cut(array: npt.NDArray[Any], plane: Plane) -> npt.NDArray[Any]:
    cut = [slice(None)] * 3
    cut[plane.axis] = slice(plane.position, plane.position + 1)
    return array[tuple(cut)]


def _shown(cut: npt.NDArray[Any], volume: Volume, plane: Plane) -> tuple[npt.NDArray[Any], float]:
    """A plane's rows from top to bottom as shown, not more pixels than a screen has, and a pixel's height by width."""
    codes = nib.orientations.io_orientation(volume.affine_ras)
    turned = nib.orientations.apply_orientation(cut, codes)
    across = int(codes[plane.axis, 0])
    spacing = np.array(volume.spacing_mm)[np.argsort(codes[:, 0])]
    first, second = (axis for axis in range(3) if axis != across)
    step = max(1, -(-max(turned.shape) // _MOST_PIXELS))
    picture = np.take(turned, 0, axis=across).T[::-step, ::-step]
    return picture, float(spacing[second] / spacing[first])
