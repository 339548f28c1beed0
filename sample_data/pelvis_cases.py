"""The ten synthetic pelvis patients."""

from __future__ import annotations

from radseg.sample_data.pelvis_anatomy import Pelvis
from radseg.sample_data.pelvis_phantom import PelvisCase

PELVIS_CASES = (
    PelvisCase("pelvis01", 5101, Pelvis()),
    PelvisCase("pelvis02", 5102, Pelvis(scale=0.93, width=1.08, wing_flare=1.04, fat_mm=26.0)),
    PelvisCase("pelvis03", 5103, Pelvis(scale=1.04, width=0.96, cortex_mm=3.8, fat_mm=12.0, body=(175.0, 105.0))),
    PelvisCase("pelvis04", 5104, Pelvis(scale=0.96, cortex_mm=2.2, cortex_hu=780.0, marrow_hu=120.0, fat_mm=32.0)),
    PelvisCase("pelvis05", 5105, Pelvis(width=1.05, wing_flare=1.08, femur_degrees=(2.0, 12.0), body=(172.0, 112.0))),
    PelvisCase("pelvis06", 5106, Pelvis(scale=0.9, width=1.03, wing_flare=0.96, fat_mm=10.0, body=(150.0, 88.0))),
    PelvisCase("pelvis07", 5107, Pelvis(scale=1.02, cortex_hu=1150.0, marrow_hu=280.0, femur_degrees=(14.0, 9.0))),
    PelvisCase("pelvis08", 5108, Pelvis(scale=0.97, width=1.06, cortex_mm=2.6, marrow_hu=160.0, fat_mm=38.0)),
    PelvisCase("pelvis09", 5109, Pelvis(scale=0.95, wing_flare=1.05, cortex_hu=900.0, femur_degrees=(8.0, 3.0))),
    PelvisCase("pelvis10", 5110, Pelvis(scale=1.05, width=0.98, wing_flare=0.98, fat_mm=24.0, body=(180.0, 116.0))),
)
