"""Figures of an experiment as PNG: curves, boxes by fold, differences with intervals, parameters against a metric.

On white, so that they print; in Okabe and Ito's colours, the ones with most contrast first, and never by colour alone:
folds differ in line style too, our numbers and the paper's in their markers.
"""

import io
import warnings
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from radseg.pipelines.experiments.cells import NAMES, title_of
from radseg.pipelines.experiments.paper import paper_of, published, published_difference
from radseg.pipelines.experiments.results import Results, Run, Variant
from radseg.pipelines.experiments.scores import TESTED, Comparison, case_values, over_folds
from radseg.pipelines.experiments.tables import fold_name

# Okabe and Ito's palette, which stays apart for the colour-blind; on white the first five have a contrast of about 3
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "v", "P", "X", "h")  # the diamond is the paper's, or a mean
_WIDTH, _DPI = 9.6, 150
_ROW = 0.2  # inches a box
_POINTS = 30  # cases up to which each is drawn beside its box
_LOOK = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "legend.frameon": False,
    "text.parse_math": False,  # names may hold a $
}


def curves(variant: Variant) -> bytes | None:
    """Loss and validation Dice by epoch, a line a fold; the epoch whose weights were tested is marked.

    Every column of the history with "loss" or "dice" in its name is drawn, so a discriminator's loss too.

    Returns:
        None if no run has a history.
    """
    runs = [run for run in variant.runs if run.history]
    if not runs:
        return None
    with mpl.rc_context(_LOOK):
        figure, (losses, dices) = _figure(3.2, columns=2)
        for axes, word, title in ((losses, "loss", "Loss"), (dices, "dice", "Dice on validation cases")):
            keys = dict.fromkeys(key for run in runs for row in run.history for key in row)
            names = [key for key in keys if word in key.lower()]
            for run in runs:
                _lines(axes, run, names)
            axes.set(xlabel="epoch", title=title)
            axes.margins(x=0.04)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
            if len(names) > 1:
                handles = [
                    Line2D([], [], color="#555555", marker=_MARKERS[place], label=name.replace("_", " "))
                    for place, name in enumerate(names[: len(_MARKERS)])
                ]
                axes.legend(handles=handles, fontsize=10)
        if dices.lines:  # all at one scale, so that variants can be compared
            dices.set_ylim(0, 1)
        else:
            _say(dices, "no validation Dice was recorded")
        folds = [
            Line2D([], [], color=_color(run.fold), linestyle=_style(run.fold), label=f"fold {run.fold}") for run in runs
        ]
        chosen = Line2D([], [], linestyle="", marker="*", markersize=11, color="#555555", label="chosen epoch")
        figure.legend(handles=[*folds, chosen], loc="outside lower center", ncols=min(len(runs) + 1, 6))
        return _png(figure)


def boxes(results: Results, metric: str = TESTED) -> bytes | None:
    """Cases of each fold as boxes, folds from top to bottom, variant below variant, a panel a label.

    A box holds the middle half of the cases, its line is their median, the diamond their mean; whiskers reach to the
    last case within 1.5 box lengths. Where there are few cases each is a dot.

    Returns:
        None if no run is done.
    """
    variants = [variant for variant in results.variants if any(run.done and run.rows for run in variant.runs)]
    if not variants or not results.labels:
        return None
    folds = sorted({run.fold for variant in variants for run in variant.runs if run.done})
    rows = len(variants) * (len(folds) + 1)
    with mpl.rc_context(_LOOK):
        figure, panels = _figure(1.3 + max(1.2, rows * _ROW), columns=len(results.labels), sharey=True)
        for axes, label in zip(panels, results.labels, strict=True):
            for place, variant in enumerate(variants):
                for run in variant.runs:
                    values = [value for value in case_values(run, label, metric) if value is not None]
                    if values:
                        _box(axes, values, place * (len(folds) + 1) + folds.index(run.fold), run.fold)
            axes.set(xlabel=f"{title_of(metric)}{f' of {label}' if len(results.labels) > 1 else ''}, case by case")
            axes.set_ylim(rows - 0.5, -1)
            axes.grid(visible=False, axis="y")
        middles = [place * (len(folds) + 1) + (len(folds) - 1) / 2 for place in range(len(variants))]
        if len(variants) == 1:
            panels[0].set_yticks(range(len(folds)), [fold_name(results, fold) for fold in folds])
        else:
            panels[0].set_yticks(middles, [_short(variant.name) for variant in variants])
        panels[0].tick_params(axis="y", length=0)
        handles: list[Artist] = []
        if len(variants) > 1:
            handles = [Patch(facecolor="white", edgecolor=_color(fold), label=f"fold {fold}") for fold in folds]
        handles.append(Line2D([], [], linestyle="", marker="D", color="#555555", label="mean"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
        return _png(figure)


def differences(results: Results, found: Sequence[Comparison]) -> bytes | None:
    """Each variant's difference to the baseline as a bar with its 95 % interval, a panel a label.

    The paper's difference, where it gives one, is an open diamond.

    Returns:
        None if nothing can be compared.
    """
    if not any(one.difference is not None for one in found):
        return None
    names = list(dict.fromkeys(one.variant for one in found))
    beside = False
    with mpl.rc_context(_LOOK):
        figure, panels = _figure(1.5 + 0.42 * len(names), columns=len(results.labels), sharey=True)
        for axes, label in zip(panels, results.labels, strict=True):
            for one in found:
                if one.label != label or one.difference is None:
                    continue
                place = names.index(one.variant)
                axes.barh(place, one.difference, height=0.6, color=COLORS[0], alpha=0.55)
                if one.interval is not None:
                    axes.plot([one.interval.low, one.interval.high], [place, place], color="black", linewidth=1.8)
                    for end in (one.interval.low, one.interval.high):
                        axes.plot(end, place, marker="|", color="black", markersize=10)
            for place, name in enumerate(names):
                theirs = published_difference(paper_of(results, label), name, results.baseline, TESTED)
                if theirs is not None:
                    axes.plot(theirs, place, marker="D", markersize=8, markerfacecolor="white", color=COLORS[1])
                    beside = True
            axes.axvline(0, color="black", linewidth=1)
            of = f" of {label}" if len(results.labels) > 1 else ""
            axes.set(xlabel=f"Δ {NAMES[TESTED]}{of} to {_short(results.baseline)}")
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(range(len(names)), [_short(name) for name in names])
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        handles: list[Artist] = [
            Patch(color=COLORS[0], alpha=0.55, label="ours"),
            Line2D([], [], color="black", linewidth=1.8, label="95 % interval"),
        ]
        handles += [_open_diamond()] if beside else []
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return _png(figure)


def parameters_against(results: Results, metric: str = "iou") -> bytes | None:
    """Each variant's mean metric over folds (bars: ± sd) against its parameters, the paper's as open diamonds.

    Returns:
        None unless variants of at least two numbers of parameters were scored.
    """
    counts = {variant.parameters for variant in results.variants if _scored(variant, results, metric)}
    if len(counts) < 2:
        return None
    variants = [variant for variant in results.variants if _scored(variant, results, metric)]
    with mpl.rc_context(_LOOK):
        figure, panels = _figure(4.6, columns=len(results.labels), sharey=True)
        beside = False
        for axes, label in zip(panels, results.labels, strict=True):
            for place, variant in enumerate(variants):
                ours = over_folds(variant, label, metric)
                if ours.mean is None or variant.parameters is None:
                    continue
                color, marker = COLORS[place % len(COLORS)], _MARKERS[place % len(_MARKERS)]
                axes.errorbar(
                    variant.parameters, ours.mean, yerr=ours.sd, color=color, marker=marker, markersize=9, capsize=4,
                    linestyle="", label=_short(variant.name),
                )  # fmt: skip
                theirs = published(paper_of(results, label), variant.name, metric)
                if theirs is not None:
                    axes.plot(
                        variant.parameters, theirs, marker="D", markersize=8, markerfacecolor="white", color=color
                    )
                    beside = True
            _million_axis(axes, [variant.parameters for variant in variants if variant.parameters])
            of = f" of {label}" if len(results.labels) > 1 else ""
            axes.set(xlabel="parameters, million", title=f"{title_of(metric)}{of}, mean over folds")
        handles = [*panels[0].get_legend_handles_labels()[0], *([_open_diamond()] if beside else [])]
        figure.legend(handles=handles, loc="outside right center")
        return _png(figure)


def _lines(axes: Axes, run: Run, names: Sequence[str]) -> None:
    """The named columns of a run's history; a marker tells several columns apart, a star the chosen epoch."""
    for place, name in enumerate(names):
        points = [(row.get("epoch"), row.get(name)) for row in run.history]
        known = [(epoch, value) for epoch, value in points if epoch is not None and value is not None]
        if not known:
            continue
        epochs, values = zip(*known, strict=True)
        marker = _MARKERS[place % len(_MARKERS)] if len(names) > 1 or len(known) == 1 else ""
        axes.plot(
            epochs, values, color=_color(run.fold), linestyle=_style(run.fold), linewidth=1.6,
            marker=marker, markersize=4, markevery=max(1, len(known) // 12),
        )  # fmt: skip
        if run.best_epoch is not None and run.best_epoch in epochs:
            axes.plot(run.best_epoch, values[epochs.index(run.best_epoch)], "*", color=_color(run.fold), markersize=11)


def _box(axes: Axes, values: Sequence[float], place: int, fold: int) -> None:
    color = _color(fold)
    line = {"color": color, "linewidth": 1.6}
    axes.boxplot(
        values, positions=[place], orientation="horizontal", widths=0.7, manage_ticks=False, showmeans=True,
        boxprops=line, medianprops={**line, "linewidth": 2.4}, whiskerprops=line, capprops=line,
        flierprops={"marker": "." if len(values) > _POINTS else "", "markeredgecolor": color, "markersize": 4},
        meanprops={"marker": "D", "markerfacecolor": color, "markeredgecolor": "white", "markersize": 6},
    )  # fmt: skip
    if len(values) <= _POINTS:
        axes.plot(values, np.full(len(values), place), ".", color=color, alpha=0.7, markersize=6)


def _million_axis(axes: Axes, parameters: Sequence[int]) -> None:
    axes.set_xscale("log")
    low, high = min(parameters), max(parameters)
    axes.set_xlim(low / 1.25, high * 1.25)
    steps = [base * 10.0**power for power in range(2, 10) for base in (1, 2, 3, 5, 7)]
    axes.xaxis.set_major_locator(FixedLocator([step for step in steps if low / 1.25 <= step <= high * 1.25]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _scored(variant: Variant, results: Results, metric: str) -> bool:
    means = (over_folds(variant, label, metric).mean for label in results.labels)
    return variant.parameters is not None and any(mean is not None for mean in means)


def _open_diamond() -> Line2D:
    return Line2D([], [], linestyle="", marker="D", markerfacecolor="white", color="#555555", label="in the paper")


def _figure(height: float, columns: int, sharey: bool = False) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, columns, squeeze=False, sharey=sharey)[0])


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes; the tables have it as it is
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    figure.clear()  # its parts refer to each other and would wait for the garbage collector
    return stream.getvalue()


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def _color(fold: int) -> str:
    return COLORS[fold % len(COLORS)]


def _style(fold: int) -> str | tuple[int, tuple[int, ...]]:
    return _STYLES[fold % len(_STYLES)]
