"""What the values of a numbered mask say: which are the sacrum's, and where names by level can't be right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_LUMBAR_SACRAL = (("VerSe", (24, 25), (26, 27)), ("TotalSegmentator", (27,), (26, 25)))
"""Values of the last lumbar vertebra (L5, L6) and of what lies below it: sacrum and coccyx, or S1 and sacrum.

VerSe's numbers stand at github.com/anjany/verse, those of TotalSegmentator's task `total` (version 2) in its class map.
"""
_C1 = {"VerSe": (1, 2), "TotalSegmentator": (50, 49)}


def sacral_values(values: Sequence[int]) -> tuple[list[int], str]:
    """The values that lie below the last lumbar one as the sacrum does in VerSe or TotalSegmentator, and their warning.

    Args:
        values: of the vertebrae, from the highest to the lowest.
    """
    for source, lumbar, below in _LUMBAR_SACRAL:
        sacral = [value for value in values if value in below]
        above = list(values[: len(values) - len(sacral)])
        if sacral and above and above[-1] in lumbar and list(values[len(above) :]) == sacral:
            listed = " and ".join(map(str, sacral))
            return sacral, f"{listed} below {above[-1]} is the sacrum in {source}'s numbering and isn't counted"
    return [], ""


def doubts_of_names(values: Sequence[int], top_level: str) -> list[str]:
    """Where the values of a numbered mask don't fit names that run on from the level of the highest vertebra.

    Args:
        values: of the vertebrae, from the highest to the lowest.
        top_level: level of the highest.
    """
    doubts = []
    for source, first in _C1.items():
        if top_level == "C2" and tuple(values[:2]) == first:
            doubts.append(f"value {first[0]} is C1 in {source}'s numbering: if it is here, top_level is C1, not C2")
    steps = list(itertools.pairwise(values))
    step = 1 if sum(below > above for above, below in steps) * 2 >= len(steps) else -1
    for above, below in steps:
        if below != above + step:
            missing = "if a vertebra is left out or extra there, names below it are wrong"
            doubts.append(f"{below} follows {above} in the mask: {missing}")
            break
    return doubts
