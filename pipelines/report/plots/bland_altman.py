"""The Bland–Altman plot: the difference of two sizes against their mean, with bias and limits of agreement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from radseg.pipelines.report.plots.agreement import Agreement, Ends, agreement
from radseg.pipelines.report.plots.look import (
    GREY,
    LOOK,
    Form,
    color,
    legend_below,
    marker,
    new_figure,
    rendered,
    short,
)

_COLUMNS = 2
_CROWD = 200  # points from which they are smaller and shine through
_BAND = "#d5d5d5"


@dataclass(frozen=True)
class Sizes:
    """What one panel compares.

    Attributes:
        title: what of, such as a label's name.
        unit: of the sizes.
        groups: pairs of truth and prediction by name, such as a fold's; each has its own marker and colour.
        note: what was left out, "" if nothing.
    """

    title: str
    unit: str
    groups: Mapping[str, Sequence[tuple[float, float]]]
    note: str = ""

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Those of all groups."""
        return [pair for pairs in self.groups.values() for pair in pairs]

    @property
    def agreement(self) -> Agreement | None:
        """Over all groups, None of too few pairs."""
        pairs = self.pairs
        return agreement([truth for truth, _ in pairs], [prediction for _, prediction in pairs])


def bland_altman(panels: Sequence[Sizes], form: Form = "png") -> bytes | None:
    """Difference prediction − truth against the mean of both, case by case, two panels a row.

    Bias and limits of agreement are lines, each with its 95 % interval as a band (see `agreement`), and are written out
    below. The mean of both stands on the horizontal axis, not the truth: differences plotted against the truth would
    slope even if nothing were wrong (Bland and Altman, Lancet 346, 1995).

    Args:
        panels: what is compared; one of fewer than three pairs is left out.
        form: of the file.

    Returns:
        None if every panel has too few pairs.
    """
    drawn = [(panel, found) for panel in panels if (found := panel.agreement) is not None]
    if not drawn:
        return None
    names = list(dict.fromkeys(name for panel, _ in drawn for name in panel.groups))
    columns = min(_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    with mpl.rc_context(LOOK):
        figure, every = new_figure(0.3 + 5.0 * rows, columns, rows)
        for axes, (panel, found) in zip(every, drawn, strict=False):
            _draw(axes, panel, found, names)
        for axes in every[len(drawn) :]:
            axes.set_axis_off()
        if len(names) > 1:
            legend_below(figure, [_point(place, name) for place, name in enumerate(names)])
        return rendered(figure, form)


def _draw(axes: Axes, panel: Sizes, found: Agreement, names: Sequence[str]) -> None:
    crowded = found.pairs > _CROWD
    for name, pairs in panel.groups.items():
        truth, prediction = np.array(pairs, np.float64).reshape(-1, 2).T
        place = names.index(name)
        axes.plot(
            (truth + prediction) / 2, prediction - truth, linestyle="", marker=marker(place), color=color(place),
            markersize=4 if crowded else 7, alpha=0.5 if crowded else 1.0, markeredgecolor="white", zorder=3,
            markeredgewidth=0.3 if crowded else 0.6,
        )  # fmt: skip
    digits = _digits(found)
    lines = (
        ("upper limit", found.upper, found.upper_interval, "--"),
        ("bias", found.bias, found.bias_interval, "-"),
        ("lower limit", found.lower, found.lower_interval, "-."),
    )
    handles: list[Line2D | Patch] = []
    for name, value, ends, dashes in lines:
        axes.axhspan(*ends, color=_BAND, alpha=0.6, linewidth=0)
        axes.axhline(value, color="black", linestyle=dashes, linewidth=1.6, zorder=4)
        text = f"{name} {_with_interval(value, ends, digits)} {panel.unit}"
        handles.append(Line2D([], [], color="black", linestyle=dashes, linewidth=1.6, label=text))
    handles.append(Patch(color=_BAND, label="95 % interval (in brackets)"))
    axes.axhline(0, color=GREY, linestyle=":", linewidth=1.2)
    axes.margins(x=0.05, y=0.08)
    axes.set(
        xlabel=f"mean of truth and prediction, {panel.unit}",
        ylabel=f"prediction − truth, {panel.unit}",
        title=f"{short(panel.title)}: {found.pairs} cases" + (f" ({panel.note})" if panel.note else ""),
    )
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=10, handlelength=3)


def _point(place: int, name: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker(place), color=color(place), markersize=7, label=short(name))


def _with_interval(value: float, ends: Ends, digits: int) -> str:
    low, high = (_number(end, digits) for end in ends)
    return f"{_number(value, digits)} ({low} to {high})"


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _digits(found: Agreement) -> int:
    """Decimals that show the limits to three figures."""
    largest = max(abs(found.lower), abs(found.upper), found.sd)
    return 1 if largest == 0 else int(np.clip(2 - np.floor(np.log10(largest)), 0, 6))
