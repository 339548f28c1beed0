"""The six synthetic chest patients: their build, their pneumonia and their scan."""

from __future__ import annotations

from radseg.sample_data.chest_anatomy import Chest
from radseg.sample_data.grid import Grid
from radseg.sample_data.lung_lesions import Pneumonia
from radseg.sample_data.lung_phantom import LungCase

LUNG_CASES = (
    LungCase(
        name="lung01",
        seed=3101,
        grid=Grid(shape=(128, 112, 30), spacing_mm=(2.75, 2.75, 8.0), center_lps=(3.0, -2.0, -310.0)),
        chest_lps=(2.0, -4.0, -306.0),
        chest=Chest(),
        pneumonia=Pneumonia(patches=9, consolidated=3),
    ),
    LungCase(
        name="lung02",
        seed=3102,
        grid=Grid(shape=(128, 104, 32), spacing_mm=(2.875, 2.875, 7.5), center_lps=(0.0, 6.0, 95.0)),
        chest_lps=(-3.0, 4.0, 97.0),
        chest=Chest(width=1.04, depth=1.08, fat_mm=22.0, heart=1.08),
        pneumonia=Pneumonia(
            patches=14, consolidated=6, radius_mm=(12.0, 34.0), heights_mm=(-80.0, 50.0), glass_hu=-430.0
        ),
        noise_hu=26.0,
    ),
    LungCase(
        name="lung03",
        seed=3103,
        grid=Grid(shape=(120, 104, 28), spacing_mm=(2.75, 2.75, 9.0), center_lps=(-4.0, 10.0, -150.0)),
        chest_lps=(-2.0, 8.0, -148.0),
        chest=Chest(width=0.93, depth=0.96, fat_mm=9.0, heart=0.92, inspiration_mm=14.0, blood_hu=150.0),
        pneumonia=Pneumonia(
            patches=3, consolidated=0, radius_mm=(9.0, 14.0), heights_mm=(-60.0, -10.0), glass_hu=-560.0
        ),
    ),
    LungCase(
        name="lung04",
        seed=3104,
        grid=Grid(shape=(104, 92, 26), spacing_mm=(3.375, 3.375, 9.5), center_lps=(6.0, 0.0, -80.0)),
        chest_lps=(4.0, -2.0, -78.0),
        chest=Chest(width=0.98, depth=1.02, fat_mm=17.0, heart=1.15, inspiration_mm=-8.0),
        pneumonia=Pneumonia(
            patches=8, consolidated=8, radius_mm=(12.0, 26.0), heights_mm=(-70.0, 5.0), glass_hu=-400.0
        ),
    ),
    LungCase(
        name="lung05",
        seed=3105,
        grid=Grid(shape=(128, 108, 30), spacing_mm=(2.625, 2.625, 8.0), center_lps=(1.0, 3.0, 42.0)),
        chest_lps=(0.0, 2.0, 46.0),
        chest=Chest(width=0.95, fat_mm=12.0, inspiration_mm=8.0),
        pneumonia=Pneumonia(patches=11, consolidated=2, glass_hu=-520.0, heights_mm=(-60.0, 40.0)),
    ),
    LungCase(
        name="lung06",
        seed=3106,
        grid=Grid(shape=(104, 96, 24), spacing_mm=(3.25, 3.25, 10.0), center_lps=(-2.0, -5.0, -200.0)),
        chest_lps=(-3.0, -6.0, -196.0),
        chest=Chest(depth=1.05, fat_mm=15.0, heart=1.05, blood_hu=60.0),
        pneumonia=Pneumonia(patches=10, consolidated=4, heights_mm=(-75.0, 35.0), glass_hu=-460.0),
    ),
)
