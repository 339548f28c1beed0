"""Parameters against a score: what a network's size buys, on a logarithmic axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from radseg.pipelines.report.plots.look import LOOK, Form, color, marker, new_figure, paper_diamond, rendered, short


@dataclass(frozen=True)
class Network:
    """A network's size and score.

    Attributes:
        name: as the legend calls it.
        parameters: how many it has.
        score: mean over folds.
        sd: standard deviation over folds, None of a single one.
        published: the paper's score, None where it gives none.
        published_parameters: how many the paper says it has, None where it doesn't.
    """

    name: str
    parameters: int
    score: float
    sd: float | None = None
    published: float | None = None
    published_parameters: int | None = None


def parameters_against(panels: Mapping[str, Sequence[Network]], form: Form = "png") -> bytes | None:
    """Each network's score (bars: ± sd) against its parameters, the paper's scores as open diamonds.

    A diamond stands at the paper's number of parameters, or at ours where the paper gives none.

    Args:
        panels: networks by what stands above them; a network has the same colour and marker in each.
        form: of the file.

    Returns:
        None unless there are networks of at least two sizes.
    """
    networks = [one for mine in panels.values() for one in mine]
    if len({one.parameters for one in networks}) < 2:
        return None
    names = list(dict.fromkeys(one.name for one in networks))
    with mpl.rc_context(LOOK):
        figure, every = new_figure(4.6, columns=len(panels), sharey=True)
        handles = {}
        for axes, (title, mine) in zip(every, panels.items(), strict=True):
            for one in mine:
                place = names.index(one.name)
                handles[one.name] = axes.errorbar(
                    one.parameters, one.score, yerr=one.sd, color=color(place), marker=marker(place), markersize=9,
                    capsize=4, linestyle="", label=short(one.name),
                )  # fmt: skip
                if one.published is not None:
                    axes.plot(
                        one.published_parameters or one.parameters, one.published, marker="D", markersize=8,
                        markerfacecolor="white", color=color(place),
                    )  # fmt: skip
            theirs = [one.published_parameters for one in networks if one.published is not None]
            _million_axis(axes, [*(one.parameters for one in networks), *(count for count in theirs if count)])
            axes.set(xlabel="parameters, million", title=title)
        beside = [paper_diamond()] if any(one.published is not None for one in networks) else []
        figure.legend(handles=[*handles.values(), *beside], loc="outside right center")
        return rendered(figure, form)


def _million_axis(axes: Axes, parameters: Sequence[int]) -> None:
    axes.set_xscale("log")
    low, high = min(parameters), max(parameters)
    axes.set_xlim(low / 1.25, high * 1.25)
    steps = [base * 10.0**power for power in range(2, 10) for base in (1, 2, 3, 5, 7)]
    axes.xaxis.set_major_locator(FixedLocator([step for step in steps if low / 1.25 <= step <= high * 1.25]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
