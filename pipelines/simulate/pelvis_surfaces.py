"""Patients whose hip bones and sacrum are at hand as surfaces."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from radseg.pipelines.errors import InputError
from radseg.pipelines.simulate.read_surface import read_surface
from radseg.transforms.radiography.pelvis_bones import PelvisBones, Surface
from radseg.transforms.radiography.surface_thickness import close_holes

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class PelvisFiles:
    """A patient's three surfaces.

    Attributes:
        name: of the patient.
        files: those of "right", "left" and "sacrum".
    """

    name: str
    files: Mapping[str, Path]

    def bones(self, rng: np.random.Generator) -> PelvisBones:
        """The bones, closed, in another build with each state of `rng`.

        Raises:
            InputError: a file can't be read, or holds no closed surface.
        """
        right, left, sacrum = (_surface(self.files[part]) for part in ("right", "left", "sacrum"))
        return PelvisBones(right, left, sacrum).scaled(torch.from_numpy(rng.uniform(0.93, 1.08, 3)))


def pelvises(origin: Path) -> list[PelvisFiles]:
    """The patients of a folder with left/, right/ and sacrum/, matched by the number in their files' names.

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
    return [
        PelvisFiles(f"pelvis{number}", parts) for number, parts in sorted(files.items(), key=lambda one: int(one[0]))
    ]


def no_pelvis(pelvis: PelvisFiles, error: ValueError) -> InputError:
    """What to say where the surfaces were read, and turned out to be something else."""
    return InputError(f"{pelvis.files['sacrum']}: not a pelvis with its hip bones ({error})")


def _surface(file: Path) -> Surface:
    vertices_lps, faces = read_surface(file)
    if len(faces) < 4:
        raise InputError(f"{file}: {len(faces)} triangles are no closed surface; export it again")
    return Surface(torch.from_numpy(vertices_lps * _LPS_TO_RAS), close_holes(torch.from_numpy(faces)))
