"""The worst cases of the baseline as pictures: predicted once more, since an evaluation keeps numbers and no masks."""

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.errors import ConfigError, one_line
from radseg.pipelines.evaluate import Evaluator
from radseg.pipelines.experiments.case_picture import draw_case
from radseg.pipelines.experiments.cells import counted
from radseg.pipelines.experiments.results import Results
from radseg.pipelines.experiments.runs import Job
from radseg.pipelines.experiments.scored_items import scored_items
from radseg.pipelines.experiments.scores import TESTED, Case, baseline_of, rows_by_case
from radseg.pipelines.io import load_mask, mask_on_image
from radseg.pipelines.metrics import overlap_counts
from radseg.pipelines.progress_lines import tell
from radseg.pipelines.report.atomic import write_whole

FOLDER = "worst_cases"
_RECORD = "worst_cases.json"
_SAME = 1e-3  # how far a second prediction's Dice may lie from the first's; another device sums in another order

_logger = logging.getLogger("radseg.experiments")


@dataclass(frozen=True)
class WorstCase:
    """A case with its lowest Dice.

    Attributes:
        fold: that it was tested in.
        case: its name.
        number: which of that name it is in the fold, from 0.
        label: the label with that Dice.
        dice: as it was evaluated.
    """

    fold: int
    case: str
    number: int
    label: str
    dice: float


@dataclass(frozen=True)
class Drawn:
    """A worst case that was predicted again.

    Attributes:
        worst: the case.
        picture: PNG file in the folder of the worst cases; None if it couldn't be drawn.
        said: the plane in words, or why there is no picture.
        dice: of the second prediction, None without one.
    """

    worst: WorstCase
    picture: str | None
    said: str
    dice: float | None

    @property
    def differs(self) -> bool:
        """Whether the picture shows another mask than the one that was scored."""
        return self.dice is not None and abs(self.dice - self.worst.dice) > _SAME


def worst_cases(results: Results, count: int = 5) -> list[WorstCase]:
    """The cases of the baseline with the lowest Dice, each with the label that is lowest, the worst first.

    A case whose label is empty in truth and prediction has a Dice of 1 and so is never among them before others.
    """
    baseline = baseline_of(results)
    lowest: dict[Case, WorstCase] = {}
    for run in baseline.runs if baseline is not None else ():
        for label in results.labels:
            for case, row in rows_by_case(run, label):
                dice = row.metrics.get(TESTED)
                if dice is not None and (case not in lowest or dice < lowest[case].dice):
                    lowest[case] = WorstCase(*case, label, dice)
    return sorted(lowest.values(), key=lambda one: (one.dice, one.fold, one.case, one.number))[:count]


def save_worst_cases(results: Results, output_dir: Path, jobs: Iterable[Job], count: int = 5) -> None:
    """Predicts the worst cases of the baseline again and draws them into `<output_dir>/worst_cases`.

    To be called once, when the runs have ended: it loads the network of each fold that has such a case and predicts
    these few cases, through the predictor of the bundle's evaluate.json. What is there already of the same cases and
    scores is left. A case that can't be drawn any more is recorded with the reason. If the jobs show progress, a line
    tells of each case before it is predicted, since that takes minutes where a case is large.

    Args:
        results: of an experiment.
        output_dir: its folder.
        jobs: of the baseline, one a fold.
        count: how many cases.

    Raises:
        ConfigError: the folder can't be written.
    """
    wanted = worst_cases(results, count)
    if not wanted or [one.worst for one in _read(output_dir)[0]] == wanted:
        return
    began = time.monotonic()
    of_fold = {job.fold: job for job in jobs}
    progress = any(job.progress for job in of_fold.values())
    folder = output_dir / FOLDER
    drawn: dict[WorstCase, Drawn] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tell(f"worst cases: predicting {counted(len(wanted), 'case')} once more, to draw them", progress)
        for fold, cases in groupby(sorted(wanted, key=lambda one: one.fold), key=lambda one: one.fold):
            of_this_fold = list(cases)
            try:
                evaluator = _evaluator(of_fold[fold])
            except Exception as error:
                _logger.debug("fold %d can't be predicted again", fold, exc_info=True)
                drawn |= {one: _not_drawn(one, error, output_dir) for one in of_this_fold}
                continue
            for one in of_this_fold:
                tell(f"worst cases: {len(drawn) + 1} of {len(wanted)}, of fold {fold}", progress)
                drawn[one] = _drawn(one, wanted.index(one), evaluator, results, output_dir)
        content = {"seconds": round(time.monotonic() - began, 1), "cases": [asdict(drawn[one]) for one in wanted]}
        write_whole(folder / _RECORD, [json.dumps(content, indent=1, ensure_ascii=False) + "\n"])
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written ({error.strerror}); free space and run again") from error


def read_worst_cases(results: Results, output_dir: Path, count: int = 5) -> tuple[list[Drawn], float]:
    """What was drawn of the cases that are the worst now, and the seconds that it took; nothing if others are now."""
    drawn, seconds = _read(output_dir)
    return (drawn, seconds) if [one.worst for one in drawn] == worst_cases(results, count) else ([], 0.0)


def _drawn(one: WorstCase, place: int, evaluator: Evaluator, results: Results, output_dir: Path) -> Drawn:
    try:
        run = next(run for variant in results.variants if variant.name == results.baseline for run in variant.runs
                   if run.fold == one.fold)  # fmt: skip
        index = scored_items(run, one.label, output_dir)[one.fold, one.case, one.number]
        item = evaluator.items[index]
        image = evaluator.predictor.loader.load_image(item["image"])
        label = mask_on_image(Path(item["image"]), image, Path(item["label"]), load_mask(item["label"]))
        truth = np.asarray(evaluator.truth(torch.from_numpy(label.array)[None])[0]).astype(np.int64)
        mask = evaluator.predictor(image).mask
        value = evaluator.labels.index(one.label) + 1
        picture = draw_case(image, truth == value, mask == value)
        name = f"{place + 1}.png"
        write_whole(output_dir / FOLDER / name, picture.png)
    except OSError:
        raise
    except Exception as error:
        _logger.debug("a worst case can't be drawn", exc_info=True)
        return _not_drawn(one, error, output_dir)
    return Drawn(one, name, picture.plane, overlap_counts(mask, truth, value).dice)


def _evaluator(job: Job) -> Evaluator:
    """The evaluator that the run's scores are from, not run; its predictor and the truth as it sees it."""
    places = {
        "dataset_dir": job.dataset_dir,
        "datalist": job.datalist,
        "weights": str(job.place / "model.pt"),
        "split": "test",
        "output_dir": str(job.place / "evaluation"),
        "progress": False,
    }
    workflow = load_workflow(job.bundle, "evaluate", {**job.evaluate, **places}, trust_config=True)
    workflow.initialize()
    evaluator: Evaluator = workflow.parser.get_parsed_content("evaluator")
    return evaluator


def _not_drawn(one: WorstCase, error: Exception, output_dir: Path) -> Drawn:
    # the page is handed on: where its folder lay is nobody's business
    return Drawn(one, None, f"not drawn: {one_line(error).replace(f'{output_dir}{os.sep}', '')}", None)


def _read(output_dir: Path) -> tuple[list[Drawn], float]:
    """What the record holds; nothing if it is missing, damaged, or a picture is gone."""
    try:
        content: Mapping[str, Any] = json.loads((output_dir / FOLDER / _RECORD).read_text(encoding="utf-8"))
        drawn = [Drawn(**{**one, "worst": WorstCase(**one["worst"])}) for one in content["cases"]]
        seconds = float(content["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return [], 0.0
    if not all(one.picture is None or (output_dir / FOLDER / Path(one.picture).name).is_file() for one in drawn):
        return [], 0.0
    return drawn, seconds
