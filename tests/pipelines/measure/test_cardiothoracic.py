"""The heart between two lung fields, and no number where the fields don't show it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from radseg.pipelines.io import load_mask
from radseg.pipelines.measure.cardiothoracic import cardiothoracic_ratio


def chest(heart_half: int = 50, shift: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right field, left field and heart in 240 × 300 pixels: a dome of lung over two diaphragms, a round heart."""
    y, x = np.mgrid[:240, :300]
    thorax = ((x - 150) / 110) ** 2 + ((y - 150) / 130) ** 2 < 1
    below = (y > 170 + ((x - 90) / 9) ** 2 / 4) * (x < 150) + (y > 180 + ((x - 215) / 9) ** 2 / 4) * (x >= 150)
    heart = ((x - 150 - shift) / heart_half) ** 2 + ((y - 145) / 48) ** 2 < 1
    spine = abs(x - 150) < 14
    lung = thorax & (below == 0) & ~heart & ~spine
    return lung & (x < 150), lung & (x >= 150), heart


@pytest.mark.parametrize(("half", "shift"), [(48, 10), (55, 20), (65, 15), (75, 18)])
def test_it_is_the_heart_s_width_over_the_thorax_s(half: int, shift: int) -> None:
    right, left, heart = chest(half, shift)
    found = cardiothoracic_ratio(right, left)
    columns = np.flatnonzero(heart.any(axis=0))
    widths = [np.ptp(np.flatnonzero(row)) + 1 for row in right | left if row.any()]
    assert found.trouble == ""
    assert found.ratio == pytest.approx(len(columns) / max(widths), abs=0.02)
    assert abs(found.heart_from - columns[0]) <= 3
    assert abs(found.heart_to - columns[-1]) <= 3


def test_fields_that_reach_behind_the_heart_give_no_ratio() -> None:
    right, left, _ = chest(20, 0)
    found = cardiothoracic_ratio(right, left)
    assert found.ratio is None
    assert "behind the heart" in found.trouble


def test_specks_beside_a_field_change_nothing() -> None:
    right, left, _ = chest()
    clean = cardiothoracic_ratio(right, left)
    left[230:233, 20:24] = right[5:8, 280:284] = True
    assert cardiothoracic_ratio(right, left) == clean


def test_a_missing_field_is_told() -> None:
    right, left, _ = chest()
    assert "missing" in cardiothoracic_ratio(right, np.zeros_like(left)).trouble
    assert cardiothoracic_ratio(np.zeros_like(right), left).ratio is None


def test_a_real_heart_projected_from_ct_is_measured(real_data: Path) -> None:
    image = nib.load(real_data / "chest_ct" / "structures.nii.gz")
    structures = np.asarray(image.dataobj).astype(np.uint8)  # stored L, A, S

    def seen_from_the_front(*labels: int) -> np.ndarray:
        table = np.zeros(256, bool)
        table[list(labels)] = True
        shadow = table[structures].any(axis=1)[:, ::-1].T  # rows to the feet, columns to the left
        return ndimage.zoom(shadow.view(np.uint8), (2.5 / 0.703125, 1), order=0) > 0

    heart = seen_from_the_front(51, 61)
    # what hides lung: spleen, kidneys, liver, stomach, oesophagus, trachea, colon, great vessels
    soft = seen_from_the_front(1, 2, 3, 5, 6, 15, 16, 18, 20, 52, 53, 62)
    fields = [seen_from_the_front(*lobes) & ~heart & ~soft for lobes in ((12, 13, 14), (10, 11))]
    found = cardiothoracic_ratio(*fields)
    columns = np.flatnonzero(heart.any(axis=0))
    thorax = max(np.ptp(np.flatnonzero(row)) + 1 for row in fields[0] | fields[1] if row.any())
    assert found.ratio == pytest.approx((columns[-1] - columns[0] + 1) / thorax, abs=0.02)


def test_real_masks_that_hold_the_lung_behind_the_heart_get_no_number(real_data: Path) -> None:
    # masks of this data set run along the spine; one alone was drawn along the heart
    files = sorted((real_data / "chest_xray" / "lung_masks").glob("*.png"))[:15]
    for file in files:
        labels = load_mask(file).array[:, :, 0].T
        assert cardiothoracic_ratio(labels == 1, labels == 2).ratio is None, file.name
