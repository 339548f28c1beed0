"""The worst cases are those with the lowest Dice, drawn where the error is, with the very mask that was scored."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from made_up_results import made_up
from PIL import Image

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.evaluate import evaluate
from radseg.pipelines.experiments.case_picture import PREDICTION, TRUTH, draw_case
from radseg.pipelines.experiments.page import write_page
from radseg.pipelines.experiments.results import Results, Row, Run, Variant
from radseg.pipelines.experiments.runs import Job
from radseg.pipelines.experiments.worst_cases import read_worst_cases, save_worst_cases, worst_cases
from radseg.pipelines.io import Volume

SAMPLES = Path(__file__).parents[3] / "sample_data"


def volume(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    array = np.random.default_rng(0).normal(0, 300, shape).astype(np.float32)
    return Volume(array, np.diag([*spacing_mm, 1.0]), "HU")


def box(shape: tuple[int, int, int], *sides: slice) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask[sides] = True
    return mask


def share(png: bytes, colour: str) -> int:
    """How many pixels above the legend have about that colour."""
    with Image.open(io.BytesIO(png)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((abs(pixels[: int(len(pixels) * 0.85)] - wanted).max(axis=-1) < 40).sum())


def rows(**dice: float | None) -> tuple[Row, ...]:
    return tuple(Row(case, "lesion", {"dice": value}) for case, value in dice.items())


def results_of(*folds: tuple[Row, ...]) -> Results:
    runs = tuple(Run(number, f"full/fold_{number}", "done", rows=one) for number, one in enumerate(folds))
    empty = made_up({"full": 0.5}, folds=len(folds))
    return replace(empty, variants=(Variant("full", {}, None, runs),))


def test_the_worst_are_those_with_the_lowest_dice_over_all_folds() -> None:
    results = results_of(rows(a=0.9, b=0.2, c=None), rows(d=0.1, e=0.2, f=0.8))
    found = [(one.fold, one.case, one.dice) for one in worst_cases(results, 3)]
    assert found == [(1, "d", 0.1), (0, "b", 0.2), (1, "e", 0.2)]
    assert len(worst_cases(results)) == 5


def test_a_case_is_there_once_with_its_worst_label() -> None:
    both = (Row("a", "lesion", {"dice": 0.5}), Row("a", "lung", {"dice": 0.3}), *rows(b=0.4))
    results = replace(results_of(both), labels=("lesion", "lung"))
    assert [(one.case, one.label) for one in worst_cases(results)] == [("a", "lung"), ("b", "lesion")]


def test_failed_runs_and_missing_baselines_have_no_worst_case() -> None:
    results = results_of(rows(a=0.5))
    failed = replace(results.variants[0], runs=(replace(results.variants[0].runs[0], status="failed"),))
    assert worst_cases(replace(results, variants=(failed,))) == []
    assert worst_cases(replace(results, baseline="another")) == []


@pytest.mark.parametrize(
    ("axis", "said"),
    [(0, "sagittal, slice 5 of 20"), (1, "coronal, slice 5 of 20"), (2, "axial, slice 5 of 20")],
)
def test_the_plane_with_most_of_the_error_is_shown(axis: int, said: str) -> None:
    shape = (20, 20, 20)
    error = [slice(None)] * 3
    error[axis] = slice(4, 5)
    truth = box(shape, slice(0, 20), slice(0, 20), slice(0, 20))
    assert draw_case(volume(shape), truth, truth & ~box(shape, *error)).plane == said


def test_error_is_counted_in_square_millimetres() -> None:
    # 4 × 4 voxels of 1 × 1 mm axially, 4 × 2 of 1 × 5 mm sagittally and coronally
    shape = (20, 20, 20)
    error = box(shape, slice(8, 12), slice(8, 12), slice(8, 10))
    assert draw_case(volume(shape), error, np.zeros(shape, bool)).plane.startswith("axial")
    assert draw_case(volume(shape, (1, 1, 5)), error, np.zeros(shape, bool)).plane.startswith("sagittal")


def test_a_plane_without_truth_is_shown_only_if_there_is_none() -> None:
    shape = (20, 20, 20)
    everywhere, low = np.ones(shape, bool), box(shape, slice(8, 12), slice(8, 12), slice(3, 4))
    assert draw_case(volume(shape, (1, 1, 5)), low, everywhere).plane == "sagittal, slice 9 of 20"
    nothing = np.zeros(shape, bool)
    assert draw_case(volume(shape), nothing, box(shape, slice(0, 9), slice(0, 9), slice(7, 8))).plane.startswith(
        "axial, slice 8 of 20"
    )


def test_planes_are_named_in_the_patient_whatever_the_files_axes() -> None:
    # the file's first axis runs from superior to inferior
    array = np.random.default_rng(0).normal(0, 300, (20, 16, 12)).astype(np.float32)
    affine = np.array([[0, 1.0, 0, 0], [0, 0, 1.0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]])
    error = box((20, 16, 12), slice(3, 4), slice(0, 16), slice(0, 12))
    assert draw_case(Volume(array, affine, "HU"), error, ~error & error).plane == "axial, slice 17 of 20"


def test_truth_and_prediction_have_their_colours() -> None:
    shape = (60, 60, 1)
    true, found = box(shape, slice(10, 40), slice(10, 40)), box(shape, slice(20, 50), slice(20, 50))
    grey = Volume(volume(shape).array, np.diag([-1.0, -1, 1, 1]), "grey", is_picture=True)
    png = draw_case(grey, true, found).png
    assert min(share(png, TRUTH[0]), share(png, PREDICTION[0])) > 100
    missed = draw_case(grey, true, np.zeros(shape, bool)).png
    assert share(missed, TRUTH[0]) > 100 > 10 > share(missed, PREDICTION[0])


def test_a_small_lesion_is_shown_large_and_the_caption_says_so() -> None:
    shape = (200, 200, 1)
    picture = Volume(volume(shape).array, np.diag([-1.0, -1, 1, 1]), "grey", is_picture=True)
    small = box(shape, slice(190, 194), slice(3, 6))
    assert draw_case(picture, small, np.zeros(shape, bool)).plane == "part of the image"
    assert draw_case(picture, ~small, np.ones(shape, bool)).plane == ""


@pytest.mark.parametrize("shape", [(30, 40, 1), (30, 40, 3), (1500, 1300, 1)])
def test_every_case_can_be_drawn_without_any_label(shape: tuple[int, int, int]) -> None:
    drawn = draw_case(volume(shape), np.zeros(shape, bool), np.zeros(shape, bool))
    with Image.open(io.BytesIO(drawn.png)) as picture:
        assert max(picture.size) < 1000


@pytest.fixture(scope="module")
def experiment(
    tmp_path_factory: pytest.TempPathFactory, small_weights: dict[str, Path], small: dict[str, Any]
) -> tuple[Path, Results, Callable[[], list[Job]]]:
    """A finished fold of chest X-rays, as the verbs leave it."""
    folder = tmp_path_factory.mktemp("experiment")
    run = folder / "full" / "fold_0"
    run.mkdir(parents=True)
    shutil.copy(small_weights["lung_xray"], run / "model.pt")
    datalist = json.loads((SAMPLES / "lung_xray" / "datalist.json").read_text())
    (folder / "folds").mkdir()
    fold = folder / "folds" / "fold_0.json"
    fold.write_text(json.dumps({**datalist, "test": datalist["training"][:2]}))
    job = Job(
        bundle="lung_xray", variant="full", fold=0, folder=str(run), datalist=str(fold),
        dataset_dir=str(SAMPLES / "lung_xray"), train={}, evaluate=small["lung_xray"], progress=False,
    )  # fmt: skip
    scores = evaluate(
        "lung_xray", dataset_dir=job.dataset_dir, datalist=job.datalist, weights=str(run / "model.pt"), split="test",
        output_dir=str(run / "evaluation"), progress=False, **small["lung_xray"],
    )  # fmt: skip
    found = tuple(Row(row["case"], row["label"], row["metrics"]) for row in scores["rows"])
    results = replace(results_of(found), labels=("lung",))
    return folder, results, lambda: [job]


def test_the_mask_that_was_scored_is_drawn_and_on_the_page(
    experiment: tuple[Path, Results, Callable[[], list[Job]]],
) -> None:
    folder, results, jobs = experiment
    assert read_worst_cases(results, folder) == ([], 0.0)
    assert "Not drawn yet" in write_page(results, folder).read_text()
    save_worst_cases(results, folder, jobs())
    drawn, seconds = read_worst_cases(results, folder)
    assert [one.worst for one in drawn] == worst_cases(results)
    assert [one.picture for one in drawn] == ["1.png", "2.png"]
    assert [one.dice for one in drawn] == [pytest.approx(one.worst.dice, abs=1e-6) for one in drawn]
    assert not any(one.differs for one in drawn)
    assert seconds > 0
    text = write_page(results, folder).read_text()
    assert all(one.worst.case in text for one in drawn)
    assert text.count('<figure><img alt="') == 2
    assert "predicted once more for these pictures in" in text


def test_each_case_is_told_of_before_it_is_predicted_again(
    experiment: tuple[Path, Results, Callable[[], list[Job]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, results, jobs = experiment
    shutil.copytree(folder / "folds", tmp_path / "folds")
    loud = [replace(job, progress=True) for job in jobs()]
    save_worst_cases(results, tmp_path, loud)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "worst cases: predicting 2 cases once more, to draw them",
        "worst cases: 1 of 2, of fold 0",
        "worst cases: 2 of 2, of fold 0",
    ]
    save_worst_cases(results, tmp_path, loud)  # there is nothing left to wait for
    save_worst_cases(results, folder, jobs())
    assert capsys.readouterr().err == ""


def test_what_was_drawn_is_not_predicted_again(experiment: tuple[Path, Results, Callable[[], list[Job]]]) -> None:
    folder, results, jobs = experiment
    save_worst_cases(results, folder, jobs())
    before = {file.name: file.stat().st_mtime_ns for file in (folder / "worst_cases").iterdir()}
    save_worst_cases(results, folder, [])  # would find nothing to predict with
    assert {file.name: file.stat().st_mtime_ns for file in (folder / "worst_cases").iterdir()} == before


def test_other_scores_have_no_old_pictures(experiment: tuple[Path, Results, Callable[[], list[Job]]]) -> None:
    folder, results, jobs = experiment
    save_worst_cases(results, folder, jobs())
    run = results.variants[0].runs[0]
    better = tuple(replace(row, metrics={**row.metrics, "dice": 0.99}) for row in run.rows)
    now = replace(results, variants=(replace(results.variants[0], runs=(replace(run, rows=better),)),))
    assert read_worst_cases(now, folder) == ([], 0.0)


def test_a_case_that_is_gone_is_said_and_the_others_are_drawn(
    experiment: tuple[Path, Results, Callable[[], list[Job]]], tmp_path: Path
) -> None:
    folder, results, jobs = experiment
    run = results.variants[0].runs[0]
    unknown = replace(run, fold=1, folder="full/fold_1", rows=rows(lost=0.0))
    unknown = replace(unknown, rows=tuple(replace(row, label="lung") for row in unknown.rows))
    more = replace(results, variants=(replace(results.variants[0], runs=(run, unknown)),))
    shutil.copytree(folder / "folds", tmp_path / "folds")
    gone = replace(jobs()[0], fold=1, folder=str(tmp_path / "full" / "fold_1"))
    save_worst_cases(more, tmp_path, [*jobs(), gone])
    drawn, _ = read_worst_cases(more, tmp_path)
    assert (drawn[0].worst.case, drawn[0].picture) == ("lost", None)
    assert drawn[0].said.startswith("not drawn: full/fold_1/model.pt: ")  # without the place on this machine
    assert all(one.picture for one in drawn[1:])
    assert "not drawn: " in write_page(more, tmp_path).read_text()


def test_a_mask_other_than_the_scored_one_is_told_of(
    experiment: tuple[Path, Results, Callable[[], list[Job]]], tmp_path: Path
) -> None:
    folder, results, jobs = experiment
    run = results.variants[0].runs[0]
    claimed = tuple(replace(row, metrics={**row.metrics, "dice": 0.123}) for row in run.rows)
    other = replace(results, variants=(replace(results.variants[0], runs=(replace(run, rows=claimed),)),))
    shutil.copytree(folder / "folds", tmp_path / "folds")
    save_worst_cases(other, tmp_path, jobs())
    assert all(one.differs for one in read_worst_cases(other, tmp_path)[0])
    assert "another mask than was scored" in write_page(other, tmp_path).read_text()


def test_a_folder_that_cannot_be_written_is_one_line(
    experiment: tuple[Path, Results, Callable[[], list[Job]]], tmp_path: Path
) -> None:
    _, results, jobs = experiment
    (tmp_path / "worst_cases").write_text("in the way")
    with pytest.raises(ConfigError, match="can't be written"):
        save_worst_cases(results, tmp_path, jobs())


def test_a_damaged_record_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "worst_cases").mkdir()
    (tmp_path / "worst_cases" / "worst_cases.json").write_text("{")
    assert read_worst_cases(results_of(rows(a=0.5)), tmp_path) == ([], 0.0)
