"""What a user sees of a case's page and does to it: planes, the mask painted on them, positions, chosen windows."""

from typing import Any

import numpy as np
import numpy.typing as npt
from browser import Page

AXIAL, SAGITTAL, CORONAL, SOLID = (f"[data-cell='{name}']" for name in ("Axial", "Sagittal", "Coronal", "3D"))


def set_value(page: Page, selector: str, value: str, event: str) -> None:
    """Gives a control a value, as moving or typing does."""
    page.run(f"document.querySelector('{selector}').value = '{value}'")
    page.run(f"document.querySelector('{selector}').dispatchEvent(new Event('{event}'))")
    page.frame()


def place_words(page: Page) -> list[str]:
    return page.text("#place").split(" · ")


def pressed(page: Page) -> list[str]:
    """Keys of the windows that are shown as chosen."""
    words = page.run("[...document.querySelectorAll('#presets [aria-pressed=true]')].map((one) => one.innerText)")
    return [said[-1] for said in words]


def painted(page: Page, selector: str) -> npt.NDArray[np.bool_]:
    """Where the mask changes what is seen of a plane."""
    with_mask = page.picture(selector).astype(int)
    page.press("o")
    without = page.picture(selector).astype(int)
    page.press("o")
    changed: npt.NDArray[np.bool_] = abs(with_mask - without).max(axis=-1) > 12
    return changed


def expected(plane_rc: npt.NDArray[Any], pixel: tuple[float, float], seen: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A plane's mask, rows and columns as shown, as large as it can be in the middle of what is seen of it."""
    rows, columns = plane_rc.shape
    scale = min(seen[0] / (rows * pixel[0]), seen[1] / (columns * pixel[1]))
    at = []
    for length, size, room in zip(plane_rc.shape, pixel, seen, strict=True):
        index = np.floor((np.arange(room) + 0.5 - (room - length * size * scale) / 2) / (size * scale)).astype(int)
        at.append((np.clip(index, 0, length - 1), (index >= 0) & (index < length)))
    (row, row_in), (column, column_in) = at
    return np.asarray(plane_rc[np.ix_(row, column)] > 0) & row_in[:, np.newaxis] & column_in


def overlap(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def planes_of(ras: npt.NDArray[Any], at: tuple[int, int, int]) -> dict[str, npt.NDArray[Any]]:
    """The planes through a voxel of an array in RAS order, rows and columns as radiologists look at them."""
    x, y, z = at
    return {
        AXIAL: ras[::-1, ::-1, z].T, CORONAL: ras[::-1, y, ::-1].T, SAGITTAL: ras[x, ::-1, ::-1].T,
    }  # fmt: skip


def position(page: Page) -> tuple[int, int, int]:
    axial, coronal, sagittal = (int(words.split()[1]) - 1 for words in place_words(page)[:3])
    return sagittal, coronal, axial
