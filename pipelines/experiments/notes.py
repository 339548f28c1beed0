"""What to know when reading a run's scores, a sentence each: labels that nothing holds, metrics that are undefined."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from radseg.pipelines.experiments.results import Row


def notes_on_training(absent_labels: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What to know of labels that no item of a fold's `training`, or none of its `validation`, has."""
    for label in absent_labels.get("training", ()):
        yield never_learned(label)
    for label in absent_labels.get("validation", ()):
        yield f"no validation item of this fold holds {label!r}: validation says nothing of it"


def notes_on(rows: Sequence[Row]) -> Iterator[str]:
    """What to know when reading scores: labels that no case has, and metrics that are undefined, counted."""
    for label in dict.fromkeys(row.label for row in rows):
        mine = [row.metrics for row in rows if row.label == label]
        if never_tested(rows, label):
            yield f"no case of this fold holds {label!r}: its overlap is 1 where nothing was predicted, else 0"
        undefined = Counter(name for metrics in mine for name, value in metrics.items() if value is None)
        for name, count in undefined.items():
            yield f"{name} of {label!r} is undefined in {count} of {len(mine)} cases, which its mean leaves out"


def never_learned(label: str) -> str:
    """The note on a label that no training item holds."""
    return f"no training item of this fold holds {label!r}: its network can't have learned it"


def never_tested(rows: Sequence[Row], label: str) -> bool:
    """Whether a label was scored although no case holds it; rows without voxel counts aren't taken for empty."""
    mine = [row.metrics for row in rows if row.label == label]
    return bool(mine) and not any(metrics.get("voxels_truth", 1) for metrics in mine)
