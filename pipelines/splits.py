"""Which patient trains, validates and tests: seeded, whatever the order of the files, never a patient on two sides.

Shares follow the largest-remainder rule: every side gets the whole part of its exact share, and the places left over go
to the sides whose shares had the largest fractions (100 images at 70/10/20 give exactly 70, 10 and 20; 2,729 at 80/20
give 2,183 and 546). A patient's images stay together, so sides come as close to their shares as the patients allow.
"""

import hashlib
from collections.abc import Mapping, Sequence

from radseg.pipelines.errors import ConfigError, InputError

_ORDERS = 64  # how many random orders are tried; images that are their own patients fit exactly in the first


def shares(count: int, ratios: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers in the proportion of `ratios` that add up to `count`, by the largest-remainder rule.

    A side with a ratio above zero gets at least one where `count` allows, taken from the largest side.

    Raises:
        ConfigError: a ratio is negative or no number, or all are zero.
    """
    if not ratios or any(not 0 <= ratio < float("inf") for ratio in ratios) or sum(ratios) <= 0:
        raise ConfigError(f"ratios {_said(ratios)}: give numbers from 0 up, such as 70/10/20")
    exact = [count * ratio / sum(ratios) for ratio in ratios]
    whole = [int(share + 1e-9) for share in exact]
    by_remainder = sorted(range(len(ratios)), key=lambda side: (whole[side] - exact[side], side))
    for side in by_remainder[: count - sum(whole)]:
        whole[side] += 1
    for side, ratio in enumerate(ratios):
        largest = max(range(len(whole)), key=lambda other: whole[other])
        if ratio > 0 and whole[side] == 0 and whole[largest] > 1:
            whole[side] += 1
            whole[largest] -= 1
    return tuple(whole)


def split_groups(sizes: Mapping[str, int], ratios: Sequence[float], seed: int) -> dict[str, int]:
    """The side of each group (a patient; or a single image, each its own group), as close to `ratios` as they allow.

    The groups are dealt in a random order, each to the side that lacks most images; of 64 orders the one that comes
    closest is taken. A side differs from its share by less than the largest group, unless there are so few groups that
    a side would have been left without one. Random orders, not the largest first: that would put every large patient
    into training.

    Args:
        sizes: number of images of each group.
        ratios: one number a side.
        seed: another seed, another split.

    Returns:
        The index into `ratios` for each group.

    Raises:
        ConfigError: bad ratios.
        InputError: fewer groups than sides to fill.
    """
    targets = shares(sum(sizes.values()), ratios)
    wanted = sum(ratio > 0 for ratio in ratios)
    if len(sizes) < wanted:
        raise InputError(f"{len(sizes)} patients or images can't fill {wanted} sides ({_said(ratios)}); give more data")
    best: dict[str, int] = {}
    best_distance: int | None = None
    for order in range(_ORDERS):
        sides = _deal(_shuffled(sizes, f"{seed}/{order}"), sizes, targets)
        distance = sum(abs(target - held) for target, held in zip(targets, _held(sides, sizes, targets), strict=True))
        if best_distance is None or distance < best_distance:
            best, best_distance = sides, distance
        if best_distance == 0:
            break
    return best


def fold_groups(sizes: Mapping[str, int], folds: int, seed: int) -> dict[str, int]:
    """The cross-validation fold of each group, folds as equal as the groups allow: the largest are dealt out first.

    Raises:
        InputError: fewer than two folds, or fewer groups than folds, which would leave one empty.
    """
    if folds < 2:
        raise ConfigError(f"{folds} folds: cross-validation needs at least 2")
    if len(sizes) < folds:
        raise InputError(f"{len(sizes)} patients or images can't fill {folds} folds; ask for at most {len(sizes)}")
    order = sorted(_shuffled(sizes, f"{seed}/folds"), key=lambda group: -sizes[group])
    return _deal(order, sizes, shares(sum(sizes.values()), [1] * folds))


def _shuffled(groups: Mapping[str, int], salt: str) -> list[str]:
    # by hash, so that the order depends on names and seed alone, in every version of every library
    return sorted(groups, key=lambda group: hashlib.sha256(f"{salt}/{group}".encode()).digest())


def _deal(order: Sequence[str], sizes: Mapping[str, int], targets: Sequence[int]) -> dict[str, int]:
    lacking = list(targets)
    empty = {side for side, target in enumerate(targets) if target > 0}
    sides = {}
    for place, group in enumerate(order):
        open_sides = empty if empty and len(order) - place <= len(empty) else range(len(targets))
        side = max(open_sides, key=lambda one: (lacking[one], -one))
        sides[group] = side
        lacking[side] -= sizes[group]
        empty.discard(side)
    return sides


def _held(sides: Mapping[str, int], sizes: Mapping[str, int], targets: Sequence[int]) -> list[int]:
    held = [0] * len(targets)
    for group, side in sides.items():
        held[side] += sizes[group]
    return held


def _said(ratios: Sequence[float]) -> str:
    return "/".join(f"{ratio:g}" if isinstance(ratio, int | float) else str(ratio) for ratio in ratios)
