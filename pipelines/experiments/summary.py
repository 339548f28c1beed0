"""An experiment's result in the lines that the command prints when it ends."""

from collections.abc import Iterator

from radseg.pipelines.experiments.absent_labels import marked, said_of_absent
from radseg.pipelines.experiments.cells import NAMES, mean_sd
from radseg.pipelines.experiments.results import Results
from radseg.pipelines.experiments.scores import TESTED, over_folds, unfinished


def summary(results: Results) -> Iterator[str]:
    """Mean ± sd of each variant and label, what its daggers mean, how folds were made, whether runs are missing."""
    for variant in results.variants:
        for label in results.labels:
            dice = over_folds(variant, label, TESTED)
            if dice.mean is not None:
                score = marked(mean_sd(dice, TESTED), variant.runs, label)
                yield f"{variant.name}: {label} {NAMES[TESTED]} {score}, folds done: {dice.count}"
    yield from said_of_absent(results, results.variants, results.labels)
    yield results.dataset.said
    if missing := unfinished(results):
        yield f"partial: {missing}"
