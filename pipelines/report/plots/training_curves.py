"""Training curves: loss and validation Dice by epoch, a line a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from radseg.pipelines.report.plots.look import (
    GREY,
    LOOK,
    MARKERS,
    Form,
    color,
    legend_below,
    marker,
    new_figure,
    rendered,
    say,
    short,
    style,
    whole_numbers,
)


@dataclass(frozen=True)
class Training:
    """The course of one training.

    Attributes:
        name: as the legend calls it.
        place: number of its colour and line style, such as its fold's.
        history: a row an epoch: "epoch", and by name what was recorded, as history.json's "epochs" are.
        chosen_epoch: whose weights were kept, None when unknown.
    """

    name: str
    place: int
    history: Sequence[Mapping[str, float | None]]
    chosen_epoch: int | None = None


def training_curves(trainings: Sequence[Training], form: Form = "png") -> bytes | None:
    """Loss and validation Dice by epoch, a line a training; a star marks the epoch that was chosen.

    Every column of the history with "loss" or "dice" in its name is drawn, so a discriminator's loss too.

    Returns:
        None if no training has a history.
    """
    trainings = [one for one in trainings if one.history]
    if not trainings:
        return None
    with mpl.rc_context(LOOK):
        figure, (losses, dices) = new_figure(3.2, columns=2)
        for axes, word, title in ((losses, "loss", "Loss"), (dices, "dice", "Dice on validation cases")):
            keys = dict.fromkeys(key for one in trainings for row in one.history for key in row)
            names = [key for key in keys if word in key.lower()]
            for one in trainings:
                _lines(axes, one, names)
            axes.set(xlabel="epoch", title=title)
            axes.margins(x=0.04)
            whole_numbers(axes, 8)
            if len(names) > 1:
                handles = [
                    Line2D([], [], color=GREY, marker=marker(place), label=name.replace("_", " "))
                    for place, name in enumerate(names[: len(MARKERS)])
                ]
                axes.legend(handles=handles, fontsize=10)
        if dices.lines:  # all at one scale, so that trainings can be compared
            dices.set_ylim(0, 1)
        else:
            say(dices, "no validation Dice was recorded")
        lines = [
            Line2D([], [], color=color(one.place), linestyle=style(one.place), label=short(one.name))
            for one in trainings
        ]
        chosen = Line2D([], [], linestyle="", marker="*", markersize=11, color=GREY, label="chosen epoch")
        legend_below(figure, [*lines, chosen])
        return rendered(figure, form)


def _lines(axes: Axes, one: Training, names: Sequence[str]) -> None:
    """The named columns of a history; a marker tells several columns apart, a star the chosen epoch."""
    for place, name in enumerate(names):
        points = [(row.get("epoch"), row.get(name)) for row in one.history]
        known = [(epoch, value) for epoch, value in points if epoch is not None and value is not None]
        if not known:
            continue
        epochs, values = zip(*known, strict=True)
        axes.plot(
            epochs, values, color=color(one.place), linestyle=style(one.place), linewidth=1.6,
            marker=marker(place) if len(names) > 1 or len(known) == 1 else "",
            markersize=4, markevery=max(1, len(known) // 12),
        )  # fmt: skip
        if one.chosen_epoch is not None and one.chosen_epoch in epochs:
            axes.plot(
                one.chosen_epoch, values[epochs.index(one.chosen_epoch)], "*", color=color(one.place), markersize=11
            )
