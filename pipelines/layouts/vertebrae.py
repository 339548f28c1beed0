"""Labels of single vertebrae become what the spine bundle learns: merged, or numbered for simulated fractures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.nifti import read_nifti, write_mask
from radseg.pipelines.layouts.folders import listed
from radseg.pipelines.layouts.tables import read_rows

IDS: Mapping[str, int] = {
    **{f"C{number}": number for number in range(1, 8)},
    **{f"T{number}": 7 + number for number in range(1, 13)},
    **{f"L{number}": 19 + number for number in range(1, 7)},
    "T13": 28,
}
"""Vertebrae and their numbers in VerSe; 26 (sacrum) and 27 (coccyx) are left out, as background."""
LABELS = {"0": "background", "1": "vertebra", "2": "fractured vertebra"}
"""Of the merged form."""
INTACT, FRACTURED = 100, 200  # as in transforms/vertebrae/numbering.py, which needs seconds to import
NUMBERED_LABELS = {
    "0": "background",
    **{str(INTACT + number): name for name, number in IDS.items()},
    **{str(FRACTURED + number): f"{name}, fractured" for name, number in IDS.items()},
}
"""Of the numbered form, which `radseg.transforms.vertebrae` reads and the spine bundle merges by itself."""
NO_FRACTURES = "no table of fractures was given: every vertebra has label 1, and a fracture can't be learnt from these"

_NAMES = {number: name for name, number in IDS.items()}
_MOST = 28


def read_fractures(file: Path | str | None) -> dict[str, frozenset[int]]:
    """The fractured vertebrae of each case.

    Args:
        file: CSV file with the columns case (such as sub-verse014, s0001) and vertebra (such as L1, or its number in
            VerSe, 20); None for none.

    Raises:
        InputError: the file can't be read, or a vertebra is unknown.
    """
    fractured: dict[str, set[int]] = {}
    for row in read_rows(Path(file), ("case", "vertebra")) if file is not None else ():
        name = row["vertebra"].upper()
        number = int(name) if name.isascii() and name.isdigit() else IDS.get(name, 0)
        if number not in _NAMES:
            raise InputError(f"{file}: vertebra {row['vertebra']!r} is unknown; write C1 to L6 or 1 to 25 and 28")
        fractured.setdefault(row["case"], set()).add(number)
    return {case: frozenset(numbers) for case, numbers in fractured.items()}


def fracture_warnings(fractures: Mapping[str, object], cases: Sequence[str], given: bool) -> tuple[str, ...]:
    """What is to be said about a table of fractures: none was given, or it names cases that aren't there."""
    if not given:
        return (NO_FRACTURES,)
    strangers = sorted(set(fractures) - set(cases))
    return (f"{len(strangers)} cases in the table of fractures aren't in the data: {listed(strangers)}",) * bool(
        strangers
    )


def labels_of(numbered: bool) -> Mapping[str, str]:
    """The labels of one of the two forms."""
    return NUMBERED_LABELS if numbered else LABELS


def _value(number: int, fractured: frozenset[int], numbered: bool) -> int:
    """What stands for a vertebra."""
    if numbered:
        return number + (FRACTURED if number in fractured else INTACT)
    return 2 if number in fractured else 1


def label_from_numbers(mask: Path, fractured: frozenset[int], numbered: bool, output: Path) -> tuple[str, ...]:
    """Write a mask that holds VerSe's numbers in one of the two forms, on its grid and with its header's geometry.

    Raises:
        InputError: the mask can't be read or holds other values.
    """
    volume = read_nifti(mask, units="label")
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < 0 or high > _MOST or (volume.array != np.rint(volume.array)).any():
        raise InputError(
            f"{mask}: holds values other than the vertebrae 1 to {_MOST}; check that it is a vertebra mask"
        )
    numbers = volume.array.astype(np.uint8)
    table = np.zeros(_MOST + 1, np.uint8)
    for number in _NAMES:
        table[number] = _value(number, fractured, numbered)
    merged = table[numbers]
    write_mask(output, merged, volume.affine_ras, source=mask)
    present = np.bincount(numbers.ravel(), minlength=_MOST + 1) > 0
    return _notes(merged, [number for number in fractured if not present[number]])


def label_from_parts(
    parts: Mapping[int, Path], fractured: frozenset[int], numbered: bool, image: Path, output: Path
) -> tuple[str, ...]:
    """Write masks of one vertebra each as one, in one of the two forms, with the first one's grid and geometry.

    Where two overlap, the greater value stays.

    Raises:
        InputError: a mask can't be read, or they don't lie on one grid.
    """
    merged: npt.NDArray[np.uint8] | None = None
    absent: list[int] = [number for number in fractured if number not in parts]
    first: Path | None = None
    for number, path in sorted(parts.items()):
        volume = read_nifti(path, units="label")
        if merged is None or first is None:
            merged, first, affine = np.zeros(volume.array.shape, np.uint8), path, volume.affine_ras
        if volume.array.shape != merged.shape or not np.allclose(volume.affine_ras, affine, atol=1e-2):
            raise InputError(f"{path}: lies on another grid than {first.name}; download the case again")
        inside = volume.array > 0
        np.maximum(merged, _value(number, fractured, numbered), out=merged, where=inside)
        if number in fractured and not inside.any():
            absent.append(number)
    if merged is None or first is None:
        raise InputError(f"{image}: has no mask of a vertebra; download the case again")
    write_mask(output, merged, affine, source=first)
    return _notes(merged, absent)


def _notes(merged: npt.NDArray[np.uint8], absent: Sequence[int]) -> tuple[str, ...]:
    notes = [f"{_NAMES[number]} is listed as fractured but isn't in the mask" for number in sorted(absent)]
    return (*notes, *(() if merged.any() else ("no vertebra in the mask",)))
