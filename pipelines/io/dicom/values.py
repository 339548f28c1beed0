"""Values of DICOM elements as plain numbers and words, whatever a damaged file has instead of them."""

import math
from functools import cache
from typing import Any

import pydicom

_tag = cache(pydicom.tag.Tag)


def numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """A DICOM value as that many finite floats, or None."""
    if value is None or value == "":
        return None
    values = value if isinstance(value, pydicom.multival.MultiValue | list | tuple) else [value]
    try:
        floats = tuple(float(one) for one in values)
    except (TypeError, ValueError, OverflowError):
        return None
    return floats if len(floats) == count and all(map(math.isfinite, floats)) else None


def words(value: Any) -> tuple[str, ...]:
    """The words of a value in capitals; none of what is no text."""
    if not value:
        return ()
    values = value if isinstance(value, pydicom.multival.MultiValue) else [value]
    return tuple(word.strip().upper() for word in values if isinstance(word, str))


class Values:
    """Values of a data set of which some may be broken.

    Attributes:
        dataset: pydicom's.
        damage: the first that is broken and matters, as it is said to a user; "" while there is none.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.damage = ""
        self._there = set(map(int, dataset.keys()))  # pydicom takes long to find that one is absent

    def of(self, keyword: str, *, matters: bool = True) -> Any:
        """A value as pydicom has it; None where it is absent or broken."""
        tag = _tag(keyword)
        if int(tag) not in self._there:
            return None
        try:
            return self.dataset[tag].value
        except Exception:
            self.spoilt(keyword if matters else "")
            return None

    def text(self, keyword: str) -> str:
        """A text without the spaces around it; "" where it is absent or broken, as by control characters."""
        value = self.of(keyword)
        text = value.strip("\0 \t\r\n") if isinstance(value, str) else ""
        if value and (not isinstance(value, str) or not text.isprintable()):
            self.spoilt(keyword)
            return ""
        return text

    def whole(self, keyword: str, default: int, most: int) -> int:
        """A number from 0 to `most`; the default where it is absent, 0 or broken."""
        value = self.of(keyword)
        found = numbers(value, 1)
        if found is None or not found[0].is_integer() or not 0 <= found[0] <= most:
            self.spoilt("" if value is None or value == "" else f"{keyword} {str(value)[:20]}")
            return default
        return int(found[0]) or default

    def spoilt(self, what: str) -> None:
        """Remember that something can't be right, if it is the first and has a name."""
        self.damage = self.damage or (what and f"{what} can't be right")
