"""Asks a bundle's checks whether an image looks like what the bundle was made for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from radseg.pipelines.io import Volume
from radseg.pipelines.plausibility.seen import Seen


class Check(Protocol):
    """One thing that can be out of place.

    Attributes:
        ends: whether nothing more can be said of an image that this check flags.
    """

    ends: bool

    def __call__(self, image: Seen) -> str | None:
        """What is out of place, in a sentence with the number that shows it; None when nothing is."""


class Plausibility:
    """Flags an image that is out of place; it is segmented all the same, and the flags stand beside the result.

    Looks at a CT at 4 mm and at a picture at 64 × 64 pixels, so it costs a fraction of a second.

    Args:
        checks: asked in turn, each of the images that it is for; one that `ends` is the last word.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = list(checks)

    def __call__(self, volume: Volume, files: Sequence[Path] = ()) -> list[str]:
        """What is out of place, a sentence each; nothing of a plausible image.

        Args:
            volume: the image as it was read.
            files: what it was read from.
        """
        image = Seen(volume, files)
        flags: list[str] = []
        for check in self.checks:
            flag = check(image)
            if flag is not None:
                flags.append(flag)
                if check.ends:
                    break
        return flags
