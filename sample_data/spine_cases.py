"""The six synthetic spine patients: who has which fracture, build, curvature and scan."""

from __future__ import annotations

from radseg.sample_data.grid import Grid
from radseg.sample_data.spine_column import Fracture, Spine
from radseg.sample_data.spine_phantom import SpineCase
from radseg.sample_data.spine_surroundings import Body

SPINE_CASES = (
    SpineCase(
        name="spine01",
        seed=2101,
        grid=Grid(shape=(92, 96, 88), spacing_mm=(1.75, 1.75, 2.0), center_lps=(4.0, 14.0, -120.0)),
        column_lps=(4.0, -4.0, -120.0),
        spine=Spine("L2", {"L1": Fracture("wedge", 0.38)}, scoliosis_mm=2.0),
        body=Body(fat_mm=18.0, vessel_hu=45.0),
    ),
    SpineCase(
        name="spine02",
        seed=2102,
        grid=Grid(shape=(88, 92, 84), spacing_mm=(1.875, 1.875, 2.0), center_lps=(-6.5, 20.0, 35.0)),
        column_lps=(-5.0, 4.0, 38.0),
        spine=Spine(
            "T12",
            {"T11": Fracture("wedge", 0.30), "L1": Fracture("biconcave", 0.40)},
            size=0.93,
            curvature=1.25,
            scoliosis_mm=-3.0,
            trabecular_hu=65.0,
            cortical_hu=640.0,
        ),
        body=Body(fat_mm=12.0, muscle_fat=0.38, half_width_mm=150.0),
        noise_hu=14.0,
    ),
    SpineCase(
        name="spine03",
        seed=2103,
        grid=Grid(shape=(92, 88, 96), spacing_mm=(1.75, 1.75, 1.5), center_lps=(0.0, 10.0, 210.0)),
        column_lps=(0.0, -4.0, 208.0),
        spine=Spine(
            "T8", {"T8": Fracture("crush", 0.42), "T6": Fracture("wedge", 0.28)}, size=1.04, trabecular_hu=150.0
        ),
        body=Body(fat_mm=14.0, half_width_mm=170.0, vessel_hu=210.0, has_table=False),
    ),
    SpineCase(
        name="spine04",
        seed=2104,
        grid=Grid(shape=(76, 72, 58), spacing_mm=(1.875, 1.875, 2.5), center_lps=(9.0, 6.0, -64.0), tilt_degrees=5.0),
        column_lps=(7.0, -6.0, -60.0),
        spine=Spine("L2", {"L3": Fracture("biconcave", 0.38)}, scoliosis_mm=7.0, size=0.97, trabecular_hu=120.0),
        body=Body(fat_mm=10.0, muscle_fat=0.25, half_depth_mm=95.0),
    ),
    SpineCase(
        name="spine05",
        seed=2105,
        grid=Grid(shape=(88, 88, 76), spacing_mm=(2.0, 2.0, 2.25), center_lps=(2.0, 22.0, 18.0)),
        column_lps=(2.0, 2.0, 18.0),
        spine=Spine(
            "L1", {"L1": Fracture("crush", 0.38)}, size=1.05, curvature=0.8, trabecular_hu=200.0, cortical_hu=950.0
        ),
        body=Body(fat_mm=26.0, half_width_mm=185.0, half_depth_mm=125.0),
        noise_hu=15.0,
    ),
    SpineCase(
        name="spine06",
        seed=2106,
        grid=Grid(shape=(72, 80, 60), spacing_mm=(2.0, 2.0, 2.75), center_lps=(-3.0, 16.0, -80.0)),
        column_lps=(-3.0, -2.0, -84.0),
        spine=Spine(
            "L2",
            {"L1": Fracture("wedge", 0.34), "L3": Fracture("biconcave", 0.36)},
            curvature=1.1,
            scoliosis_mm=-4.0,
            trabecular_hu=105.0,
            cortical_hu=760.0,
        ),
        body=Body(fat_mm=15.0, vessel_hu=170.0),
    ),
)
