"""X-rays of a patient whose chest CT is at hand: PA and AP beams through it, in another build and pose each time."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import Volume, load_mask, load_volume
from radseg.pipelines.io.volume import check_same_grid
from radseg.transforms.radiography.attenuation import attenuation_per_mm
from radseg.transforms.radiography.cone_beam import ConeBeam, rows_and_columns
from radseg.transforms.radiography.line_integrals import line_integrals, projected_mask
from radseg.transforms.radiography.projection import Projection, Take

_SHORTEST_MM = 100.0  # along the body; less isn't a chest, and a slanting beam would find no height in it
_BODY_HU = -300.0
_AIR_HU = -1000.0
_BEYOND_ENDS_MM = 60.0


def chest_patients(
    origin: Path, mask: str | Path | None, labels: Sequence[int] | None, device: str
) -> list[tuple[str, Take]]:
    """The one patient of a labelled chest CT, and how an X-ray of it is taken.

    Args:
        origin: the CT.
        mask: the label image on its grid.
        labels: the values that count; None for all but 0.
        device: where the rays are followed.

    Raises:
        ConfigError: there is no mask.
        InputError: it isn't a chest CT, the grids differ, or the labels don't occur.
    """
    if mask is None:
        raise ConfigError(f"{origin}: an X-ray from a CT needs --mask FILE, labels on the CT's grid")
    ct, label = load_volume(origin), load_mask(mask)
    if ct.is_picture:
        raise InputError(f"{origin}: is a picture; an X-ray is computed from a CT volume")
    check_same_grid(origin, ct, Path(mask), label)
    length_mm = float(np.abs(ct.affine_ras[2, :3]) @ ct.array.shape)
    if length_mm < _SHORTEST_MM:
        raise InputError(
            f"{origin}: reaches over {length_mm:.0f} mm along the body, {_SHORTEST_MM:g} mm are needed; give a chest CT"
        )
    counts = label.array != 0 if labels is None else np.isin(label.array, np.asarray(labels))
    if not counts.any():
        wanted = "any label" if labels is None else f"label {', '.join(map(str, labels))}"
        raise InputError(f"{mask}: holds no voxel of {wanted}; choose others with --labels")
    body, lungs, inner = _extended(_without_table(ct), counts)

    def take(size: int, rng: np.random.Generator) -> Projection:
        # another build: the volume stretched a little along the patient's axes
        build = np.diag([*rng.uniform(0.92, 1.1, 3), 1.0])
        affine = build @ body.affine_ras
        beam = _chest_beam(lungs, affine, inner, size, rng)
        per_mm = attenuation_per_mm(torch.from_numpy(body.array), float(rng.uniform(50, 90)))
        integral = line_integrals(per_mm, affine, beam, device=device)
        return Projection(integral.to(torch.float64), projected_mask(lungs, affine, beam, device=device))

    return [(_plain(origin.name), take)]


def _chest_beam(
    lungs: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    inner: tuple[slice, slice, slice],
    size: int,
    rng: np.random.Generator,
) -> ConeBeam:
    """PA at 1.8 m, or AP as at the bedside, around the labelled part; the picture ends where the CT does."""
    occupied = [np.flatnonzero(lungs.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    low, high = _box([(line[0], line[-1]) for line in occupied], affine)
    ct_low, ct_high = _box([(part.start, part.stop - 1) for part in inner], affine)
    centre = (low + high) / 2 + rng.normal(0, 6, 3)
    behind = rng.random() < 0.7
    distance = rng.uniform(1700, 1900) if behind else rng.uniform(1000, 1400)
    to_centre = distance - (high[1] - low[1]) / 2 - rng.uniform(30, 80)
    rows, columns = rows_and_columns(size, float(rng.uniform(0.85, 1.12)))
    pixel_at_centre = max((high[0] - low[0]) / columns, (high[2] - low[2]) / rows) * rng.uniform(1.06, 1.3)
    pitch = float(rng.normal(0, 3 if behind else 6))
    slant = abs(np.tan(np.radians(pitch))) * (high[1] - low[1]) / 2
    pixel_at_centre = min(pixel_at_centre, (ct_high[2] - ct_low[2] - slant) / rows)
    centre[2] = min(centre[2], ct_high[2] - slant - rows * pixel_at_centre / 2)
    return ConeBeam(
        source_to_detector_mm=float(distance),
        source_to_centre_mm=float(to_centre),
        centre_ras=(float(centre[0]), float(centre[1]), float(centre[2])),
        rows=rows,
        columns=columns,
        pixel_mm=float(pixel_at_centre * distance / to_centre),
        view="PA" if behind else "AP",
        yaw_degrees=float(rng.normal(0, 3)),
        pitch_degrees=pitch,
        roll_degrees=float(rng.normal(0, 2.5)),
    )


def _without_table(ct: Volume) -> Volume:
    """The CT with air all around the patient, who is its largest connected piece."""
    from scipy import ndimage

    pieces, number = ndimage.label(ct.array > _BODY_HU)
    if number == 0:
        return ct
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = pieces == sizes.argmax()
    long_axis = int(np.abs(ct.affine_ras[2, :3]).argmax())
    slices = np.moveaxis(body, long_axis, 0)
    for index, plane in enumerate(slices):
        slices[index] = ndimage.binary_fill_holes(plane)
    return Volume(np.where(body, ct.array, np.float32(_AIR_HU)), ct.affine_ras, ct.units)


def _extended(
    ct: Volume, mask: npt.NDArray[np.bool_]
) -> tuple[Volume, npt.NDArray[np.bool_], tuple[slice, slice, slice]]:
    """CT and mask, the CT mirrored at its ends so that slanting rays don't leave the body where it was cut.

    The mirrored ends aren't for looking at. The slices say where the CT's own voxels lie.
    """
    long_axis = int(np.abs(ct.affine_ras[2, :3]).argmax())
    more = [int(np.ceil(_BEYOND_ENDS_MM / ct.spacing_mm[axis])) if axis == long_axis else 0 for axis in range(3)]
    wider = [(number, number) for number in more]
    affine = ct.affine_ras.copy()
    affine[:3, 3] -= affine[:3, :3] @ more
    i, j, k = (slice(before, before + length) for before, length in zip(more, ct.array.shape, strict=True))
    return Volume(np.pad(ct.array, wider, mode="symmetric"), affine, ct.units), np.pad(mask, wider), (i, j, k)


def _box(
    ends: Sequence[tuple[int, int]], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lower and upper corner in RAS mm of a box of voxels with its first and last index along each axis."""
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
    places = affine[:3, :3] @ corners + affine[:3, 3:]
    return places.min(axis=1), places.max(axis=1)


def _plain(name: str) -> str:
    stem = re.sub(r"(\.nii|\.nrrd|\.mha|\.mhd|\.zip)?(\.gz)?$", "", name)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem) or "ct"
