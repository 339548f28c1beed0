"""Ablation bars: what each variant changes, with its interval and what the paper says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from radseg.pipelines.report.plots.look import (
    COLORS,
    LOOK,
    Form,
    legend_below,
    new_figure,
    paper_diamond,
    rendered,
    short,
)

_BAR: dict[str, Any] = {"facecolor": "#9FC9E3", "edgecolor": COLORS[0], "hatch": "//", "linewidth": 1.2}


@dataclass(frozen=True)
class Difference:
    """A variant's score minus the baseline's.

    Attributes:
        variant: its name.
        value: None if it can't be compared.
        interval: ends of its 95 % interval, None where there is none.
        published: the difference in the paper, None where it gives none.
    """

    variant: str
    value: float | None
    interval: tuple[float, float] | None = None
    published: float | None = None


def difference_bars(panels: Mapping[str, Sequence[Difference]], form: Form = "png") -> bytes | None:
    """Differences to a baseline as bars with 95 % intervals, panels side by side; the paper's are open diamonds.

    Args:
        panels: differences by what stands at their axis.
        form: of the file.

    Returns:
        None if nothing can be compared.
    """
    found = [one for rows in panels.values() for one in rows]
    if not any(one.value is not None for one in found):
        return None
    names = list(dict.fromkeys(one.variant for one in found))
    with mpl.rc_context(LOOK):
        figure, every = new_figure(1.5 + 0.42 * len(names), columns=len(panels), sharey=True)
        for axes, (title, mine) in zip(every, panels.items(), strict=True):
            for one in mine:
                place = names.index(one.variant)
                if one.value is not None:
                    axes.barh(place, one.value, height=0.6, **_BAR)
                    if one.interval is not None:
                        axes.plot(one.interval, [place, place], color="black", linewidth=1.8, marker="|", markersize=10)
                if one.published is not None:
                    axes.plot(one.published, place, marker="D", markersize=8, markerfacecolor="white", color=COLORS[1])
            axes.axvline(0, color="black", linewidth=1)
            axes.set(xlabel=title)
            axes.grid(visible=False, axis="y")
        every[0].set_yticks(range(len(names)), [short(name) for name in names])
        every[0].set_ylim(len(names) - 0.4, -0.6)
        handles: list[Artist] = [
            Patch(**_BAR, label="ours"),
            Line2D([], [], color="black", linewidth=1.8, marker="|", markersize=10, label="95 % interval"),
        ]
        handles += [paper_diamond()] if any(one.published is not None for one in found) else []
        legend_below(figure, handles)
        return rendered(figure, form)
