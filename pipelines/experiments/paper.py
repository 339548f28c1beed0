"""What a plan's "paper" holds: published numbers by fold or by variant, the label that they are of, parameters."""

from collections.abc import Mapping
from typing import Any

from radseg.pipelines.experiments.results import Results


def paper_of(results: Results, label: str) -> Mapping[str, Any] | None:
    """The paper, if its numbers are of this label; a paper that names no label may be of any."""
    paper = results.paper
    return None if paper is None or paper.get("label", label) != label else paper


def published_metrics(paper: Mapping[str, Any] | None) -> list[str]:
    """Metrics that the paper gives anywhere."""
    if paper is None:
        return []
    rows = [*(paper.get("folds") or []), paper.get("mean") or {}, *(paper.get("variants") or {}).values()]
    return list(dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, int | float)))


def published(paper: Mapping[str, Any] | None, variant: str, metric: str) -> float | None:
    """The paper's number for a variant."""
    value = ((paper or {}).get("variants") or {}).get(variant, {}).get(metric)
    return float(value) if isinstance(value, int | float) else None


def published_parameters(paper: Mapping[str, Any] | None, variant: str) -> int | None:
    """The paper's number of parameters of a variant's network, in total."""
    value = ((paper or {}).get("parameters") or {}).get(variant)
    return int(value) if isinstance(value, int | float) else None


def published_difference(paper: Mapping[str, Any] | None, variant: str, baseline: str, metric: str) -> float | None:
    """The paper's number for a variant minus that for the baseline, if it gives both."""
    ours, theirs = published(paper, variant, metric), published(paper, baseline, metric)
    return None if ours is None or theirs is None else ours - theirs
