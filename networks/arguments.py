"""Checks of what a network is built with and called on; each error says what to give instead."""

import math
from collections.abc import Iterable
from difflib import get_close_matches

from torch import Tensor


def positive_integer(name: str, value: int) -> int:
    """Return `value` when it is an integer of at least 1.

    Raises:
        ValueError: It isn't; the message begins with `name`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return value


def dropout_share(name: str, value: float) -> float:
    """Return `value` when it is a share of values that dropout may set to 0: at least 0 and less than 1.

    Raises:
        ValueError: It isn't; the message begins with `name`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value!r}")
    return float(value)


def true_or_false(name: str, value: bool) -> bool:
    """Return `value` when it is True or False; a word such as "false" would silently count as true.

    Raises:
        ValueError: It isn't; the message begins with `name`.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def channel_widths(name: str, values: Iterable[int], count: int | None = None) -> tuple[int, ...]:
    """Return the widths of a network's levels, finest first, as a tuple.

    Args:
        name: Name of the argument, for the message.
        values: The widths; a list from JSON will do.
        count: How many there must be; None takes any number from one upwards.

    Raises:
        ValueError: Another number of widths, or one that is not a positive integer.
    """
    wanted = "at least one integer" if count is None else f"{count} integers"
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be {wanted}, one width a level, got {values!r}")
    widths = tuple(values)
    if not widths or (count is not None and len(widths) != count):
        raise ValueError(f"{name} must be {wanted}, one width a level, got {len(widths)}: {list(widths)}")
    return tuple(positive_integer(f"{name}[{level}]", width) for level, width in enumerate(widths))


def known_names(name: str, values: str | Iterable[str], known: tuple[str, ...]) -> frozenset[str]:
    """Return one name or several as a set, when all of them are known.

    Raises:
        ValueError: Neither a name nor names, or a name is unknown; the message offers the nearest one and lists all.
    """
    if not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a name or several of {', '.join(known)}, got {values!r}")
    names = frozenset([values] if isinstance(values, str) else values)
    for unknown in sorted(map(str, names - set(known))):
        nearest = get_close_matches(unknown.lower(), known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"{name}: unknown name {unknown!r}; {hint}Choose from {', '.join(known)}")
    return names


def check_image(network: str, x: Tensor, spatial_dims: int, in_channels: int) -> None:
    """Refuse an input whose number of axes or channels the network was not built for.

    Raises:
        ValueError: The shape is not (batch, in_channels, spatial axes of at least one pixel).
    """
    if x.ndim != spatial_dims + 2 or x.shape[1] != in_channels or min(x.shape[2:]) < 1:
        axes = ("height", "width") if spatial_dims == 2 else ("depth", "height", "width")
        raise ValueError(
            f"{network} takes images of shape (batch, {in_channels}, {', '.join(axes)}), got {tuple(x.shape)}; "
            "add missing axes, or build the network with the image's spatial_dims and in_channels"
        )


def check_batch_statistics(x: Tensor, stride: int) -> None:
    """Refuse a training batch that leaves batch norm one value a channel at the coarsest level.

    Args:
        x: Input padded to a multiple of `stride`.
        stride: Pixels a side that become one at the coarsest level.

    Raises:
        ValueError: One value a channel, which has no variance.
    """
    if x.shape[0] * math.prod(size // stride for size in x.shape[2:]) == 1:
        raise ValueError(
            f"training on one image of at most {stride} pixels a side leaves batch norm a single value: "
            f"use at least 2 images or more than {stride} pixels a side, or call .eval() to predict"
        )
