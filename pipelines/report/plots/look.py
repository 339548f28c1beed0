"""How every plot looks: on white so that it prints, told apart without colour too, as PNG, SVG or PDF."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

Form = Literal["png", "svg", "pdf"]
"""PNG for a screen; SVG and PDF are drawn in lines and stay sharp at any size."""

# Okabe and Ito's palette, which stays apart for the colour-blind; on white the first five have a contrast of about 3
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "v", "P", "X", "h")  # the diamond is a paper's, or a mean
GREY = "#555555"

LOOK: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "legend.frameon": False,
    "text.parse_math": False,  # names may hold a $
    "pdf.fonttype": 42,  # text stays text, which journals ask for
    "svg.hashsalt": "radseg",  # the same plot, the same bytes
}
"""To be set (`matplotlib.rc_context`) while a plot is drawn and rendered."""

_WIDTH, _DPI = 9.6, 150
_SILENT: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What would tell when and by which version a file was made, so that two of the same plot differed."""


def new_figure(height: float, columns: int, rows: int = 1, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A white figure of the common width and its panels, row by row; `height` in inches."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())


def rendered(figure: Figure, form: Form = "png") -> bytes:
    """The figure as a file's bytes, the same each time; the figure is used up."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes; the tables have it as it is
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format=form, dpi=_DPI, metadata=dict(_SILENT[form]))
    figure.clear()  # its parts refer to each other and would wait for the garbage collector
    return stream.getvalue()


def whole_numbers(axes: Axes, most: int) -> None:
    """At most so many ticks on the horizontal axis, at whole numbers alone: of a single epoch there is one."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1))


def say(axes: Axes, text: str) -> None:
    """Words in the middle of a panel that has nothing to show."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def short(name: str) -> str:
    """A name cut to what a legend can hold."""
    return name if len(name) <= 24 else f"{name[:23]}…"


def color(place: int) -> str:
    """The colour of the fold, variant or series of that number."""
    return COLORS[place % len(COLORS)]


def style(place: int) -> str | tuple[int, tuple[int, ...]]:
    """The line style of the fold or series of that number."""
    return STYLES[place % len(STYLES)]


def marker(place: int) -> str:
    """The marker of the fold, variant or series of that number."""
    return MARKERS[place % len(MARKERS)]


def paper_diamond() -> Line2D:
    """What stands in a legend for a number that was published."""
    return Line2D([], [], linestyle="", marker="D", markerfacecolor="white", color=GREY, label="in the paper")


def legend_below(figure: Figure, handles: Sequence[Any], most: int = 6) -> None:
    """A legend of the whole figure below its panels, at most so many entries a line."""
    figure.legend(handles=list(handles), loc="outside lower center", ncols=min(len(handles), most))
