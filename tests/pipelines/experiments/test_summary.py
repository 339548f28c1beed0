"""What the command prints at its end: scores, how the folds were made, and that something is missing."""

from made_up_results import made_up

from radseg.pipelines.experiments.scores import over_folds
from radseg.pipelines.experiments.summary import summary


def test_every_variant_and_label_has_its_line() -> None:
    results = made_up({"full": 0.8, "less": 0.7}, labels=["lung", "lesion"], folds=2, cases=2)
    lines = list(summary(results))
    found = over_folds(results.variants[1], "lesion", "dice")
    assert lines[3] == f"less: lesion Dice {found.mean:.4f} ± {found.sd:.4f}, folds done: 2"
    assert lines[4:] == ["2 folds by patient, seed 0"]


def test_an_unfinished_experiment_says_that_it_is_partial() -> None:
    folds = made_up({"full": 0.8}, folds=5, missing=[("full", 3), ("full", 4)], failed={("full", 2): "x"})
    assert list(summary(folds))[-1] == "partial: 2 of 5 folds done"
    runs = made_up({"full": 0.8, "less": 0.7}, folds=2, missing=[("less", 1)])
    assert list(summary(runs))[-1] == "partial: 3 of 4 runs done"
