"""Planes of a grid on their way, and rectangles in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch


class Rectangle(NamedTuple):
    """A box of a plane: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def empty(self) -> bool:
        """Whether it holds nothing."""
        return self.top >= self.bottom or self.left >= self.right

    @staticmethod
    def around(boxes: "Iterable[Rectangle]") -> "Rectangle":
        """The smallest one that holds all that aren't empty."""
        filled = [box for box in boxes if not box.empty]
        if not filled:
            return EMPTY
        top, bottom, left, right = zip(*filled, strict=True)
        return Rectangle(min(top), max(bottom), min(left), max(right))

    def within(self, other: "Rectangle") -> "Rectangle":
        """The part of this box that another holds."""
        return Rectangle(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def moved(self, origin: "Rectangle") -> "Rectangle":
        """This box of a crop as a box of the plane that the crop was taken from at `origin`."""
        return Rectangle(
            self.top + origin.top, self.bottom + origin.top, self.left + origin.left, self.right + origin.left
        )

    def of(self, values: torch.Tensor, origin: "Rectangle") -> torch.Tensor:
        """The part of values (…, rows, columns), a crop at `origin`, that this box holds."""
        rows = slice(self.top - origin.top, self.bottom - origin.top)
        return values[..., rows, self.left - origin.left : self.right - origin.left]


EMPTY = Rectangle(0, 0, 0, 0)
"""Holds nothing."""


@dataclass(frozen=True, eq=False)
class Planes:
    """Planes of the network's grid from `start` on: logits (channels, planes, rows, columns), covered likewise."""

    start: int
    logits: torch.Tensor
    covered: torch.Tensor | None

    @property
    def stop(self) -> int:
        """The first plane behind them."""
        return self.start + self.logits.shape[1]

    def on(self, device: torch.device) -> "Planes":
        """The same on a device."""
        covered = None if self.covered is None else self.covered.to(device)
        return Planes(self.start, self.logits.to(device), covered)

    def between(self, low: int, high: int) -> "Planes":
        """Those of [low, high) that are here."""
        low, high = max(low, self.start), min(high, self.stop)
        part = slice(low - self.start, max(high, low) - self.start)
        return Planes(low, self.logits[:, part], None if self.covered is None else self.covered[part])

    @staticmethod
    def joined(parts: "list[Planes]", low: int, high: int, box: Rectangle) -> "Planes":
        """A copy of the planes [low, high), which follow each other in `parts`, within a box."""
        crop = [part.between(low, high) for part in parts]
        origin = Rectangle(0, 0, 0, 0)
        logits = torch.cat([box.of(part.logits, origin) for part in crop], 1)
        if all(part.covered is None for part in crop):
            return Planes(low, logits, None)
        masks = [
            torch.ones_like(part.logits[0], dtype=torch.bool) if part.covered is None else part.covered for part in crop
        ]
        return Planes(low, logits, torch.cat([box.of(mask, origin) for mask in masks]))


def rectangles_of(filled: torch.Tensor) -> list[Rectangle]:
    """The smallest box around what isn't zero in each of several planes (planes, rows, columns)."""
    filled = filled.view(torch.uint8)
    rows, columns = filled.amax(2).numpy(force=True), filled.amax(1).numpy(force=True)
    boxes = []
    for row, column in zip(rows, columns, strict=True):
        if not row.any():
            boxes.append(EMPTY)
            continue
        top, bottom = row.argmax(), len(row) - row[::-1].argmax()
        left, right = column.argmax(), len(column) - column[::-1].argmax()
        boxes.append(Rectangle(int(top), int(bottom), int(left), int(right)))
    return boxes
