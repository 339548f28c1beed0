"""X-rays of patients whose hip bones and sacrum are at hand as surfaces: AP, in another build and pose each time."""

from pathlib import Path

import numpy as np

from radseg.pipelines.simulate.pelvis_surfaces import PelvisFiles, no_pelvis, pelvises
from radseg.transforms.radiography.cone_beam import ConeBeam, rows_and_columns
from radseg.transforms.radiography.pelvis_bones import PelvisBones
from radseg.transforms.radiography.pelvis_radiograph import project_pelvis
from radseg.transforms.radiography.projection import Projection, Take


def pelvis_patients(origin: Path) -> list[tuple[str, Take]]:
    """The patients of a folder of surfaces (see `pelvises`), and how an X-ray of each is taken.

    Raises:
        InputError: there are none, or they aren't complete.
    """

    def taken_of(pelvis: PelvisFiles) -> Take:
        def take(size: int, rng: np.random.Generator) -> Projection:
            bones = pelvis.bones(rng)
            try:
                return project_pelvis(bones, _pelvis_beam(bones, size, rng), float(rng.uniform(48, 75)), rng)
            except ValueError as error:
                raise no_pelvis(pelvis, error) from error

        return take

    return [(pelvis.name, taken_of(pelvis)) for pelvis in pelvises(origin)]


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
