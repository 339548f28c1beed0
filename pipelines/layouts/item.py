"""What a layout finds: images with their labels and patients, before anybody has split them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class MadeLabel:
    """A label that the data set doesn't hold as such and that is written when it is imported.

    Attributes:
        suffix: of the file to write, such as ".nii.gz".
        write: writes it to a path and returns what is worth knowing, one line each.
    """

    suffix: str
    write: Callable[[Path], tuple[str, ...]] = field(repr=False)


@dataclass(frozen=True)
class Item:
    """One image with its label.

    Attributes:
        name: what the case is called; used for copies and made labels, need not be unique.
        image: the image's file.
        label: the label's file, or how to make it.
        patient: all items of one patient go to one side of a split.
        published_split: `training`, `validation` or `test`, if the data set itself says so.
    """

    name: str
    image: Path
    label: Path | MadeLabel
    patient: str
    published_split: str | None = None


@dataclass(frozen=True)
class Found:
    """What lies in a folder of some layout.

    Attributes:
        items: images that have a label.
        warnings: what was left out or guessed, one line each.
        labels: meaning of the label values, as far as the layout tells.
    """

    items: tuple[Item, ...]
    warnings: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
