"""Label values of a data set become those that a bundle learns, by a table of the user's."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.nifti import read_nifti, write_mask
from radseg.pipelines.layouts.folders import suffix_of
from radseg.pipelines.layouts.item import MadeLabel
from radseg.pipelines.layouts.tables import read_rows

_MOST = 255


def read_label_map(file: Path | str) -> dict[int, int]:
    """What each value of the data set's masks becomes.

    Args:
        file: CSV file with the columns value and label; a value that isn't in it becomes 0, background.

    Raises:
        InputError: the file can't be read, or a number isn't one from 0 to 255.
    """
    table: dict[int, int] = {}
    for row in read_rows(Path(file), ("value", "label")):
        for column, text in row.items():
            if not (text.isascii() and text.isdigit() and int(text) <= _MOST):
                raise InputError(f"{file}: {column} {text!r} isn't a whole number from 0 to {_MOST}; correct it")
        value, label = int(row["value"]), int(row["label"])
        if table.setdefault(value, label) != label:
            raise InputError(f"{file}: value {value} has two labels; correct the table")
    return table


def relabelled(mask: Path, table: Mapping[int, int]) -> MadeLabel:
    """The label that `mask` becomes.

    Raises:
        InputError: it is no NIfTI.
    """
    if suffix_of(mask) not in (".nii", ".nii.gz"):
        raise InputError(f"{mask}: only NIfTI masks can be given other labels; leave out --label-map or convert it")
    return MadeLabel(".nii.gz", partial(_write, mask, table))


def _write(mask: Path, table: Mapping[int, int], output: Path) -> tuple[str, ...]:
    volume = read_nifti(mask, units="label")
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < 0 or high > _MOST or (volume.array != np.rint(volume.array)).any():
        raise InputError(f"{mask}: holds values other than whole numbers from 0 to {_MOST}; check that it is a mask")
    labels = np.zeros(_MOST + 1, np.uint8)
    for value, label in table.items():
        labels[value] = label
    made = labels[volume.array.astype(np.uint8)]
    write_mask(output, made, volume.affine_ras, source=mask)
    return () if made.any() else ("no label is left in the mask",)
