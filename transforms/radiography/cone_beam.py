"""Cone-beam geometry of a radiograph: where the source and every detector pixel stand in the patient, in mm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

# columns of the image, rows of the image, source to detector; all as displayed
_FRAMES_RAS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "AP": ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0)),
    "PA": ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
    "LL": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)),
    "RL": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)),
}
VIEWS = tuple(_FRAMES_RAS)
"""AP (the beam enters in front), PA (it enters behind), LL and RL (the left, the right side is at the detector)."""


@dataclass(frozen=True)
class ConeBeam:
    """A point source, a flat detector perpendicular to the beam's axis, and the patient between them.

    The image is displayed as radiographs are: head up; AP and PA both with the patient's right at the image's left,
    lateral views with the front at the image's left. Pixel (0, 0) is the top left one.

    Attributes:
        source_to_detector_mm: distance from the source to the detector's plane.
        source_to_centre_mm: distance from the source to the centre.
        centre_ras: the isocentre: the point of the patient (RAS, mm) that the beam's axis goes through.
        rows: rows of detector pixels.
        columns: columns of detector pixels.
        pixel_mm: side of a square pixel on the detector.
        view: "AP", "PA", "LL" or "RL".
        yaw_degrees: turn of source and detector together around the patient's long axis, right-handed in RAS.
        pitch_degrees: turn around the left–right axis, right-handed in RAS.
        roll_degrees: turn around the front–back axis, right-handed in RAS; roll comes first, then pitch, then yaw.
        detector_shift_mm: shift of the detector in its plane, along the image's columns (right) and rows (down).

    Raises:
        ValueError: a distance, size or count isn't positive, the centre isn't before the detector, or an unknown view.
    """

    source_to_detector_mm: float
    source_to_centre_mm: float
    centre_ras: tuple[float, float, float]
    rows: int
    columns: int
    pixel_mm: float
    view: str = "AP"
    yaw_degrees: float = 0.0
    pitch_degrees: float = 0.0
    roll_degrees: float = 0.0
    detector_shift_mm: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not 0 < self.source_to_centre_mm < self.source_to_detector_mm:
            raise ValueError(
                "the centre lies between source and detector: 0 < source_to_centre_mm < source_to_detector_mm, "
                f"got {self.source_to_centre_mm} and {self.source_to_detector_mm}."
            )
        if self.rows < 1 or self.columns < 1 or not self.pixel_mm > 0:
            raise ValueError(
                f"rows, columns and pixel_mm must be positive, got {self.rows}, {self.columns}, {self.pixel_mm}."
            )
        if self.view not in _FRAMES_RAS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {self.view!r}.")

    @property
    def magnification(self) -> float:
        """How much larger than life the centre is drawn on the detector."""
        return self.source_to_detector_mm / self.source_to_centre_mm

    @property
    def pixel_at_centre_mm(self) -> float:
        """What a pixel measures in the patient, in the plane through the centre."""
        return self.pixel_mm / self.magnification

    def axes_ras(self) -> torch.Tensor:
        """(3, 3) float64, unit vectors: along the image's columns (to the right), down its rows, source to detector."""
        frame = torch.tensor(_FRAMES_RAS[self.view], dtype=torch.float64)
        yaw, pitch, roll = self.yaw_degrees, self.pitch_degrees, self.roll_degrees
        return frame @ (_turn(2, yaw) @ _turn(0, pitch) @ _turn(1, roll)).T

    @property
    def source_ras(self) -> torch.Tensor:
        """The source, (3,) float64, mm."""
        return torch.tensor(self.centre_ras, dtype=torch.float64) - self.source_to_centre_mm * self.axes_ras()[2]

    def pixel_centres_ras(self, first_row: int = 0, last_row: int | None = None) -> torch.Tensor:
        """The centre of every pixel of all rows, or of those from `first_row` to before `last_row`, float64, mm.

        Returns:
            (rows, columns, 3).
        """
        right, down, beam = self.axes_ras()
        shift_right, shift_down = self.detector_shift_mm
        across = (torch.arange(self.columns, dtype=torch.float64) - (self.columns - 1) / 2) * self.pixel_mm
        rows = torch.arange(first_row, self.rows if last_row is None else last_row, dtype=torch.float64)
        along = (rows - (self.rows - 1) / 2) * self.pixel_mm
        in_row = (across + shift_right)[None, :, None] * right
        in_column = (along + shift_down)[:, None, None] * down
        places: torch.Tensor = self.source_ras + self.source_to_detector_mm * beam + in_column + in_row
        return places

    def project(self, points_ras: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where points appear on the detector.

        Args:
            points_ras: (…, 3), mm.

        Returns:
            (…, 2) float64, row and column with fractions (pixel centres are whole numbers), and (…) float64, the
            distance from the source along the beam's axis in mm: a point has a picture only where it is positive.
        """
        right, down, beam = self.axes_ras().to(points_ras.device)
        away = points_ras.to(torch.float64) - self.source_ras.to(points_ras.device)
        depth_mm = away @ beam
        scale = self.source_to_detector_mm / depth_mm
        shift_right, shift_down = self.detector_shift_mm
        row = ((away @ down) * scale - shift_down) / self.pixel_mm + (self.rows - 1) / 2
        column = ((away @ right) * scale - shift_right) / self.pixel_mm + (self.columns - 1) / 2
        return torch.stack([row, column], dim=-1), depth_mm


def rows_and_columns(size: int, rows_per_column: float) -> tuple[int, int]:
    """Rows and columns of a picture of that format, of which the more numerous are `size`."""
    if rows_per_column > 1:
        return size, max(1, round(size / rows_per_column))
    return max(1, round(size * rows_per_column)), size


def _turn(axis: int, degrees: float) -> torch.Tensor:
    """(3, 3), right-handed turn around a coordinate axis."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix
