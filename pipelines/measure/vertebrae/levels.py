"""Names of vertebrae: counted in the field, or levels from one that the user gives; a level is never guessed."""

from __future__ import annotations

from radseg.pipelines.errors import ConfigError

LEVELS = (
    *(f"C{number}" for number in range(1, 8)),
    *(f"T{number}" for number in range(1, 13)),
    *(f"L{number}" for number in range(1, 6)),
)
"""Of a spine with the usual seven cervical, twelve thoracic and five lumbar vertebrae."""


def checked_level(level: str | None, numbered: bool = False) -> str | None:
    """The level as written in `LEVELS`, None for none.

    Args:
        level: as the user wrote it.
        numbered: the mask holds one value for each vertebra, so that C1 counts, too.

    Raises:
        ConfigError: there is no such level, or it is C1, which has no body to be counted by in a mask without numbers.
    """
    if level is None:
        return None
    known = level.strip().upper()
    if known not in LEVELS or (known == "C1" and not numbered):
        why = "C1 has no body and isn't counted in this mask" if known == "C1" else "there is no such level"
        raise ConfigError(f"top_level {level!r}: {why}; give the highest vertebra of the mask, such as T5 or L1")
    return known


def names_of(count: int, top_level: str | None = None, from_bottom: bool = False) -> list[str]:
    """Names of the vertebrae of a field from the highest to the lowest.

    `vertebra 1` is the highest, or the lowest where it is counted from the bottom. With the level of the highest the
    names run on from it to L5; what lies below is `vertebra 1 beyond L5` and so on. Whether a spine has 12 or 13
    thoracic vertebrae is for the user to know.

    Args:
        count: how many there are.
        top_level: level of the highest, such as `T5`.
        from_bottom: count from the lowest.
    """
    if top_level is None:
        return [f"vertebra {count - place if from_bottom else place + 1}" for place in range(count)]
    levels = LEVELS[LEVELS.index(top_level) :]
    return [
        levels[place] if place < len(levels) else f"vertebra {place - len(levels) + 1} beyond {LEVELS[-1]}"
        for place in range(count)
    ]


def too_many(count: int, top_level: str) -> str | None:
    """A warning where there are more vertebrae than names from the highest one's level on, else None."""
    if count <= len(LEVELS) - LEVELS.index(top_level):
        return None
    return (
        f"{count} vertebrae are more than there are from {top_level} to {LEVELS[-1]}: "
        f"the lowest may be L6 or the sacrum, or the highest isn't {top_level}"
    )
