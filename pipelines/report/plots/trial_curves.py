"""Curves of a search's trials: the score by epoch, the best trial in front of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.lines import Line2D

from radseg.pipelines.report.plots.look import (
    COLORS,
    GREY,
    LOOK,
    Form,
    legend_below,
    new_figure,
    rendered,
    whole_numbers,
)

_LOOKS = {"done": (GREY, "-", "trained to its end"), "pruned": (COLORS[1], "--", "pruned"),
          "failed": ("black", ":", "failed")}  # fmt: skip


@dataclass(frozen=True)
class TrialCurve:
    """The course of a trial.

    Attributes:
        number: from 0.
        status: `done`, `pruned` or `failed`.
        scores: epoch and score of each epoch that was measured.
    """

    number: int
    status: str
    scores: Sequence[tuple[int, float]]


def trial_curves(
    trials: Sequence[TrialCurve], metric: str, best: int | None = None, form: Form = "png"
) -> bytes | None:
    """The score by epoch, a line a trial by how it ended, a marker at its end; the best trial is thick and on top.

    Args:
        trials: in the order tried.
        metric: what the score is called.
        best: number of the best trial, None while there is none.
        form: of the file.

    Returns:
        None if no trial was measured.
    """
    measured = [one for one in trials if one.scores]
    if not measured:
        return None
    with mpl.rc_context(LOOK):
        figure, (axes,) = new_figure(3.8, columns=1)
        handles = {}
        for one in measured:
            color, line, label = _LOOKS[one.status]
            width, size, layer = 1.3, 4, 2
            if one.number == best:
                color, line, label, width, size, layer = COLORS[0], "-", f"best: trial {best}", 2.8, 7, 3
            epochs, scores = zip(*one.scores, strict=True)
            axes.plot(epochs, scores, color=color, linestyle=line, linewidth=width, zorder=layer)
            axes.plot(epochs[-1], scores[-1], "o", color=color, markersize=size, zorder=layer)
            handles[label] = Line2D([], [], color=color, linestyle=line, linewidth=width, label=label)
        axes.set(xlabel="epoch", ylabel=metric)
        axes.margins(x=0.04)
        whole_numbers(axes, 12)
        legend_below(figure, list(handles.values()))
        return rendered(figure, form)
