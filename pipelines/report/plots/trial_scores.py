"""Scores of a search against its trials: what each gave, and the best so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl

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

_LOOKS = {"done": ("o", COLORS[0], "trained to its end"), "pruned": ("v", COLORS[1], "pruned")}


@dataclass(frozen=True)
class TrialScore:
    """What a trial gave.

    Attributes:
        number: from 0.
        status: `done`, `pruned` or `failed`.
        score: in its best epoch, None if it was never measured.
    """

    number: int
    status: str
    score: float | None


def trial_scores(
    trials: Sequence[TrialScore], metric: str, lowest_is_best: bool = False, form: Form = "png"
) -> bytes | None:
    """Each trial's score as a marker by how it ended, and a line for the best of those trained to their end.

    Trials that failed are crosses at the foot, since their score counts for nothing.

    Args:
        trials: in the order tried.
        metric: what the score is called.
        lowest_is_best: whether a low score is a good one.
        form: of the file.

    Returns:
        None if no trial was measured.
    """
    if all(one.score is None for one in trials):
        return None
    with mpl.rc_context(LOOK):
        figure, (axes,) = new_figure(3.6, columns=1)
        for status, (marker, color, label) in _LOOKS.items():
            points = [(one.number, one.score) for one in trials if one.status == status and one.score is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=color, markersize=7, label=label)
        failed = [one.number for one in trials if one.status == "failed"]
        if failed:
            axes.plot(
                failed, [0.03] * len(failed), "x", color="black", markersize=8, markeredgewidth=2, label="failed",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        done = [(one.number, one.score) for one in trials if one.status == "done" and one.score is not None]
        if done:
            better = min if lowest_is_best else max
            best = [better(score for _, score in done[: place + 1]) for place in range(len(done))]
            axes.step(
                [number for number, _ in done], best, where="post", color=GREY, linestyle="--", label="best so far"
            )
        axes.set(xlabel="trial", ylabel=metric)
        whole_numbers(axes, 12)
        axes.margins(x=0.04, y=0.12)
        legend_below(figure, axes.get_legend_handles_labels()[0])
        return rendered(figure, form)
