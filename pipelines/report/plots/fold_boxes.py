"""Box plots: the cases of each fold as a box, variant below variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from radseg.pipelines.report.plots.look import GREY, LOOK, Form, color, legend_below, new_figure, rendered, short

_ROW = 0.2  # inches a box
_POINTS = 30  # cases up to which each is drawn beside its box


@dataclass(frozen=True)
class FoldScores:
    """A metric's values on the cases of one fold, for one variant."""

    variant: str
    fold: int
    values: Sequence[float]


def fold_boxes(
    panels: Mapping[str, Sequence[FoldScores]], fold_names: Mapping[int, str], form: Form = "png"
) -> bytes | None:
    """Cases of each fold as boxes, folds from top to bottom, variant below variant, panels side by side.

    A box holds the middle half of the cases, its line is their median, the diamond their mean; whiskers reach to the
    last case within 1.5 box lengths (Tukey). Where there are few cases each is a dot.

    Args:
        panels: scores by what stands at their axis; an axis that all panels share names the boxes.
        fold_names: of every fold that a score is of.
        form: of the file.

    Returns:
        None if there is no value.
    """
    scores = [one for rows in panels.values() for one in rows]
    variants = list(dict.fromkeys(one.variant for one in scores))
    folds = sorted({one.fold for one in scores})
    if not any(one.values for one in scores):
        return None
    rows = len(variants) * (len(folds) + 1)
    with mpl.rc_context(LOOK):
        figure, every = new_figure(1.3 + max(1.2, rows * _ROW), columns=len(panels), sharey=True)
        for axes, (title, mine) in zip(every, panels.items(), strict=True):
            for one in mine:
                if one.values:
                    place = variants.index(one.variant) * (len(folds) + 1) + folds.index(one.fold)
                    _box(axes, one.values, place, color(one.fold))
            axes.set(xlabel=title)
            axes.set_ylim(rows - 0.5, -1)
            axes.grid(visible=False, axis="y")
        middles = [place * (len(folds) + 1) + (len(folds) - 1) / 2 for place in range(len(variants))]
        if len(variants) == 1:
            every[0].set_yticks(range(len(folds)), [short(fold_names[fold]) for fold in folds])
        else:
            every[0].set_yticks(middles, [short(name) for name in variants])
        every[0].tick_params(axis="y", length=0)
        handles: list[Artist] = []
        if len(variants) > 1:
            handles = [Patch(facecolor="white", edgecolor=color(fold), label=short(fold_names[fold])) for fold in folds]
        handles.append(Line2D([], [], linestyle="", marker="D", color=GREY, label="mean"))
        legend_below(figure, handles)
        return rendered(figure, form)


def _box(axes: Axes, values: Sequence[float], place: int, ink: str) -> None:
    line = {"color": ink, "linewidth": 1.6}
    axes.boxplot(
        values, positions=[place], orientation="horizontal", widths=0.7, manage_ticks=False, showmeans=True,
        boxprops=line, medianprops={**line, "linewidth": 2.4}, whiskerprops=line, capprops=line,
        flierprops={"marker": "." if len(values) > _POINTS else "", "markeredgecolor": ink, "markersize": 4},
        meanprops={"marker": "D", "markerfacecolor": ink, "markeredgecolor": "white", "markersize": 6},
    )  # fmt: skip
    if len(values) <= _POINTS:
        axes.plot(values, np.full(len(values), place), ".", color=ink, alpha=0.7, markersize=6)
