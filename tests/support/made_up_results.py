"""Results of an experiment that never ran, for tests of what is said of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radseg.pipelines.experiments.results import Dataset, Machine, Origin, Results, Row, Run, Variant


def made_up(
    variants: Mapping[str, float] | None = None,
    *,
    folds: int = 5,
    cases: int = 8,
    labels: Sequence[str] = ("lesion",),
    paper: Mapping[str, Any] | None = None,
    parameters: Mapping[str, int] | None = None,
    experiment: str = "ablate",
    by: str = "patient",
    simulated: bool = False,
    failed: Mapping[tuple[str, int], str] | None = None,
    missing: Sequence[tuple[str, int]] = (),
    undefined: bool = False,
    case_name: str = "case",
) -> Results:
    """Results whose scores lie around the Dice that is given for each variant; the first is the baseline.

    Args:
        variants: mean Dice by name.
        folds: number of folds.
        cases: tested in each fold, named `<case_name>_<fold>_<number>`.
        labels: that were scored.
        paper: what the paper says.
        parameters: of each variant's network.
        experiment: verb.
        by: patient or image; by image is a leak.
        simulated: of the data set.
        failed: error by variant and fold.
        missing: variants and folds that weren't run.
        undefined: leaves HD95 of each fold's first case undefined.
        case_name: start of each case's name.
    """
    variants = {"full": 0.83} if variants is None else variants
    origin = Origin("75a294113ad0", Machine("AMD EPYC 9R14", 2, 16.1, "cpu"))
    ended = "2026-11-21T12:00:00+00:00"
    by_variant = []
    for name, dice in variants.items():
        runs = []
        for fold in range(folds):
            if (name, fold) in missing:
                continue
            folder = f"{name.replace(' ', '-')}/fold_{fold}"
            if failed and (name, fold) in failed:
                error, history = failed[name, fold], _history(fold, 3, dice)
                runs.append(Run(fold, folder, "failed", error, history=history, origins=(origin,), ended=ended))
                continue
            rows = [
                Row(
                    f"{case_name}_{fold}_{number}",
                    label,
                    _metrics(dice, (fold, number, place), name, undefined and not number),
                )
                for number in range(cases)
                for place, label in enumerate(labels)
            ]
            runs.append(
                Run(
                    fold=fold, folder=folder, status="done", epochs=30, best_epoch=24 + fold % 5,
                    seconds={"train": 800.0 + 31 * fold, "evaluate": 40.5}, peak_memory_bytes=2_150_000_000,
                    history=_history(fold, 30, dice), rows=tuple(rows),
                    origins=(origin,), ended=ended,
                )
            )  # fmt: skip
        trained = (parameters or {}).get(name, 11_877_134)
        by_variant.append(Variant(name, {}, trained, tuple(runs), trained + 5_888))
    leak = by == "image"
    said = f"{folds} folds by {by}, seed 0"
    return Results(
        experiment=experiment,
        bundle="lung_ct",
        version="0.1.0",
        commit=origin.commit,
        date=ended,
        machine=origin.machine,
        dataset=Dataset("ab" * 32, folds * cases, folds * 2, simulated, by, folds, leak, said),
        seed=0,
        overrides={"max_epochs": 30},
        baseline=next(iter(variants)),
        labels=tuple(labels),
        paper=paper,
        variants=tuple(by_variant),
    )


def _metrics(dice: float, row: tuple[int, ...], variant: str, undefined: bool) -> dict[str, float | None]:
    random = np.random.default_rng(row)
    of_variant = np.random.default_rng([*row, *variant.encode()])
    value = float(np.clip(dice + random.normal(0, 0.08) + of_variant.normal(0, 0.02), 0.02, 0.99))
    return {
        "dice": value,
        "iou": value / (2 - value),
        "precision": min(1.0, value + 0.03),
        "sensitivity": value,
        "specificity": 0.997,
        "accuracy": 0.995,
        "mse": 0.004,
        "hd95_mm": None if undefined else 40 * (1 - value),
        "surface_dice": value,
        "voxels_truth": 1000.0,
        "voxels_prediction": 990.0,
    }


def _history(fold: int, epochs: int, dice: float) -> tuple[dict[str, float | None], ...]:
    random = np.random.default_rng(fold)
    return tuple(
        {
            "epoch": epoch,
            "loss": float(0.2 + 0.8 * np.exp(-epoch / 8) + random.normal(0, 0.015)),
            "val_dice": float(dice * (1 - np.exp(-epoch / 6)) + random.normal(0, 0.015)),
        }
        for epoch in range(1, epochs + 1)
    )
