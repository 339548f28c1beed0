"""The unit that distances were measured in: mm, or pixels where an image doesn't say how large its pixels are."""

from collections.abc import Sequence

from radseg.pipelines.experiments.cells import title_of
from radseg.pipelines.experiments.results import Results

_MM = "mm"


def heading(results: Results, metric: str) -> str:
    """The name of a metric as a reader knows it, a distance with the unit of these results."""
    name = title_of(metric)
    return f"{name.removesuffix(_MM)}{_unit(results)}" if metric.endswith("_mm") else name


def said_of_unit(results: Results, metrics: Sequence[str]) -> str:
    """A sentence on distances in images without a spacing, to follow others; "" where there are none."""
    unit = _unit(results)
    if unit == _MM or not any(metric.endswith("_mm") for metric in metrics):
        return ""
    if unit == "pixels":
        return " Distances are in pixels: the images don't know their spacing."
    return " Where an image doesn't know its spacing, distances are in pixels, not mm."


def _unit(results: Results) -> str:
    """Of an image without a spacing `evaluate` knows a label's share of the image alone."""
    rows = [row for variant in results.variants for run in variant.runs for row in run.rows if row.truth]
    unknown = sum(set(row.truth) == {"share_of_image"} for row in rows)
    return _MM if not unknown else "pixels" if unknown == len(rows) else "mm or pixels"
