"""Labels that a fold doesn't hold: a dagger at every mean that such a fold is part of, and what it means in words."""

from collections.abc import Sequence

from radseg.pipelines.experiments.cells import NAMES, NOTHING, fold_name, mean_sd
from radseg.pipelines.experiments.notes import never_learned, never_tested
from radseg.pipelines.experiments.results import Results, Run, Variant
from radseg.pipelines.experiments.scores import TESTED, over_folds

DAGGER = "†"


def marked(text: str, runs: Sequence[Run], label: str) -> str:
    """The text, with a dagger if a run's fold doesn't hold the label; what stands for no number gets none."""
    absent = any(_untested(run, label) or _unlearned(run, label) for run in runs)
    return f"{text} {DAGGER}" if absent and text != NOTHING else text


def said_of_absent(results: Results, variants: Sequence[Variant], labels: Sequence[str]) -> list[str]:
    """What the daggers of these variants and labels mean, a sentence a label; nothing where no dagger is.

    Of a single variant it also says the mean Dice of the folds that hold the label.
    """
    return [said for label in labels if (said := _said(results, variants, label))]


def _said(results: Results, variants: Sequence[Variant], label: str) -> str:
    runs = [run for variant in variants for run in variant.runs if run.done]
    untested, unlearned = (
        sorted({run.fold for run in runs if is_absent(run, label)}) for is_absent in (_untested, _unlearned)
    )
    parts = []
    if untested:
        said = f"no tested case of {_folds(results, untested)} holds it, so its overlap there is 1 where nothing was "
        parts.append(said + "predicted, else 0" + _of_the_others(variants, label))
    if unlearned:
        parts.append(
            f"no training item of {_folds(results, unlearned)} holds it, so the network there can't have learned it"
        )
    return f"{DAGGER} {label}: {'; '.join(parts)}." if parts else ""


def _of_the_others(variants: Sequence[Variant], label: str) -> str:
    if len(variants) != 1:
        return ""
    holding = tuple(run for run in variants[0].runs if run.done and not _untested(run, label))
    found = over_folds(Variant(variants[0].name, {}, None, holding), label, TESTED)
    if found.mean is None:
        return ", and no fold says how well it is found"
    folds = "the other fold" if found.count == 1 else f"the {found.count} other folds"
    return f"; over {folds} its mean {NAMES[TESTED]} is {mean_sd(found, TESTED)}"


def _folds(results: Results, folds: Sequence[int]) -> str:
    return " and ".join(fold_name(results, fold) for fold in folds)


def _untested(run: Run, label: str) -> bool:
    return run.done and never_tested(run.rows, label)


def _unlearned(run: Run, label: str) -> bool:
    return run.done and never_learned(label) in run.notes
