"""How names and numbers stand in a cell: folds, metrics, spreads, p, seconds, memory, and what stands for none."""

from typing import Any

from radseg.pipelines.experiments.results import Results
from radseg.pipelines.experiments.statistics import Spread

NAMES = {
    "dice": "Dice",
    "pooled_dice": "Pooled Dice",
    "iou": "IoU",
    "precision": "Precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "mse": "MSE",
    "hd95_mm": "HD95, mm",
    "surface_dice": "Surface Dice",
}
NOTHING = "–"


def number(value: float | None, metric: str) -> str:
    """A metric as it is written: two decimals of millimetres, four of everything else."""
    return NOTHING if value is None else f"{value:.2f}" if metric.endswith("_mm") else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A difference of metrics with its sign."""
    return NOTHING if value is None else f"{value:+.4f}".replace("-", "−")


def counted(count: int, what: str) -> str:
    """A number with the word for what it counts, in the plural unless it is one."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def mean_sd(found: Spread, metric: str) -> str:
    """Mean ± standard deviation; the mean alone of a single fold."""
    if found.mean is None:
        return NOTHING
    return number(found.mean, metric) + ("" if found.sd is None else f" ± {number(found.sd, metric)}")


def p_value(p: float | None) -> str:
    """A p with three decimals, or that it is smaller."""
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds(value: float | None) -> str:
    """A duration, in seconds and, from two minutes on, in minutes or hours too."""
    if value is None:
        return NOTHING
    exact = f"{value:,.0f} s" if value >= 10 else f"{value:.1f} s"
    return (
        exact
        if value < 120
        else f"{exact} ({value / 60:.0f} min)"
        if value < 7200
        else f"{exact} ({value / 3600:.1f} h)"
    )


def memory(value: int | None) -> str:
    """An amount of memory in GB (10⁹ bytes)."""
    return NOTHING if value is None else f"{value / 1e9:.2f} GB"


def parameters(count: int | None) -> str:
    """A number of parameters; in millions where it is given in tens of thousands, as papers round it."""
    if count is None:
        return NOTHING
    return f"{count:,}" if count % 10_000 else f"{count / 1e6:.2f} M"


def fold_name(results: Results, fold: int) -> str:
    """A fold as it is called; the datalist's own test list is no fold."""
    return "test" if results.dataset.folds == 1 else f"fold {fold}"


def setting(value: Any) -> str:
    """A searched setting's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def title_of(metric: str) -> str:
    """The name of a metric as a reader knows it."""
    return NAMES.get(metric, metric.replace("_", " "))
