"""X-rays of patients whose hip bones and sacrum are at hand as surfaces: AP, in another build and pose each time."""

import re
from pathlib import Path

import numpy as np
import torch

from radseg.pipelines.errors import InputError
from radseg.pipelines.read_surface import read_surface
from radseg.transforms.radiography.cone_beam import ConeBeam, rows_and_columns
from radseg.transforms.radiography.pelvis_radiograph import PelvisBones, Surface, project_pelvis
from radseg.transforms.radiography.projection import Projection, Take
from radseg.transforms.radiography.surface_thickness import close_holes

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def pelvis_patients(origin: Path) -> list[tuple[str, Take]]:
    """The patients of a folder with left/, right/ and sacrum/, and how an X-ray of each is taken.

    Raises:
        InputError: there are no surfaces, one of a patient's three is missing, or two go by one number.
    """
    files: dict[str, dict[str, Path]] = {}
    for part in ("right", "left", "sacrum"):
        for file in sorted(origin.glob(f"{part}/*.vtk*")):
            found = re.search(r"(\d+)\.vtk(\.gz)?$", file.name)
            if found is None:
                continue
            other = files.setdefault(found[1], {}).setdefault(part, file)
            if other != file:
                raise InputError(f"{file}: {other.name} is {part} {found[1]} too; keep one of them")
    if not files:
        raise InputError(f"{origin}: no surfaces left/*.vtk, right/*.vtk, sacrum/*.vtk (or .vtk.gz); give their folder")
    for number, parts in files.items():
        for part in ("right", "left", "sacrum"):
            if part not in parts:
                raise InputError(f"{origin}: pelvis {number} has no surface in {part}/; add it or take the others out")

    def taken_of(parts: dict[str, Path]) -> Take:
        def take(size: int, rng: np.random.Generator) -> Projection:
            right, left, sacrum = (_surface(parts[part]) for part in ("right", "left", "sacrum"))
            bones = PelvisBones(right, left, sacrum).scaled(torch.from_numpy(rng.uniform(0.93, 1.08, 3)))
            try:
                return project_pelvis(bones, _pelvis_beam(bones, size, rng), float(rng.uniform(48, 75)), rng)
            except ValueError as error:
                raise InputError(f"{parts['sacrum']}: not a pelvis with its hip bones ({error})") from error

        return take

    return [
        (f"pelvis{number}", taken_of(parts)) for number, parts in sorted(files.items(), key=lambda one: int(one[0]))
    ]


def _surface(file: Path) -> Surface:
    vertices_lps, faces = read_surface(file)
    if len(faces) < 4:
        raise InputError(f"{file}: {len(faces)} triangles are no closed surface; export it again")
    return Surface(torch.from_numpy(vertices_lps * _LPS_TO_RAS), close_holes(torch.from_numpy(faces)))


def _pelvis_beam(bones: PelvisBones, size: int, rng: np.random.Generator) -> ConeBeam:
    """AP, supine, the detector under the table."""
    low, high = (np.array(corner) for corner in bones.box())
    centre = (low + high) / 2 + rng.normal(0, 1, 3) * (8, 4, 10) - (0, 0, rng.uniform(0, 25))
    distance = rng.uniform(1000, 1200)
    to_centre = distance - rng.uniform(160, 230)
    rows, columns = rows_and_columns(size, float(rng.uniform(0.78, 1.0)))
    return ConeBeam(
        source_to_detector_mm=float(distance),
        source_to_centre_mm=float(to_centre),
        centre_ras=(float(centre[0]), float(centre[1]), float(centre[2])),
        rows=rows,
        columns=columns,
        pixel_mm=float((high[0] - low[0]) * rng.uniform(1.12, 1.5) * distance / to_centre / columns),
        view="AP",
        yaw_degrees=float(rng.normal(0, 3)),
        pitch_degrees=float(rng.normal(0, 6)),
        roll_degrees=float(rng.normal(0, 2.5)),
    )
