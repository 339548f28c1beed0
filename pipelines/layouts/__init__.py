"""The published layouts of data sets that can be imported: one module each, looked up by name.

A layout's module holds `items(source, **options) -> Found`; it is loaded when first used.
"""

import difflib
import inspect
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.layouts.item import Found, Item, MadeLabel

__all__ = ["LAYOUTS", "Found", "Item", "Layout", "MadeLabel", "layout_named"]


@dataclass(frozen=True)
class Layout:
    """A published way to arrange images and labels in folders.

    Attributes:
        name: as written on the command line.
        description: one line.
        bundle: the bundle that the data are for, None for any.
        ratios: the paper's split: training, validation and test; or two numbers, of which the first is divided
            into folds and the first fold validates.
        folds: the paper's cross-validation.
    """

    name: str
    description: str
    bundle: str | None = None
    ratios: tuple[float, ...] = (70, 10, 20)
    folds: int | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that `items` takes."""
        return tuple(inspect.signature(self._module().items).parameters)[1:]

    def items(self, source: Path, **options: Any) -> Found:
        """What lies in `source`.

        Raises:
            InputError: the folder hasn't the layout's structure, or a file of it is malformed.
            ConfigError: an option is unknown.
        """
        for option in options:
            if option not in self.options:
                takes = ", ".join(_written(name) for name in self.options) or "none"
                raise ConfigError(f"layout {self.name} has no option {_written(option)}; it takes {takes}")
        found: Found = self._module().items(source, **options)
        return found

    def _module(self) -> Any:
        return import_module(f"{__name__}.{self.name.replace('-', '_')}")


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("pxr150", "PXR150 pelvic X-rays: images_all/*.png, masks/*.png", "pelvis_xray"),
        Layout(
            "covid-radiography",
            "COVID-19 Radiography Database: COVID/images/*.png, COVID/masks/*.png",
            "lung_xray",
            ratios=(70, 20, 10),
        ),
        Layout(
            "kaggle-covid-ct",
            "Kaggle COVID-19 CT scan lesion segmentation: frames/*.png, masks/*.png",
            "lung_ct",
            ratios=(80, 20),
            folds=5,
        ),
        Layout("folder-of-pairs", "two folders, images/ and masks/, files of the same stem"),
        Layout("msd", "Medical Segmentation Decathlon: dataset.json, imagesTr/, labelsTr/"),
        Layout("nnunet", "nnU-Net v2 raw: dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz"),
        Layout(
            "verse", "VerSe (BIDS-like): rawdata/sub-*/*_ct.nii.gz, derivatives/sub-*/*_seg-vert_msk.nii.gz", "spine"
        ),
        Layout(
            "totalsegmentator", "TotalSegmentator: s0001/ct.nii.gz, s0001/segmentations/*.nii.gz, meta.csv", "spine"
        ),
    )
}


def layout_named(name: str) -> Layout:
    """The layout of that name.

    Raises:
        ConfigError: there is none; says which comes nearest.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"layout {name!r} is unknown; {_nearest(name, tuple(LAYOUTS))}")
    return LAYOUTS[name]


def _written(option: str) -> str:
    """An option as it stands on a command line."""
    return f"--{option.replace('_', '-')}"


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
