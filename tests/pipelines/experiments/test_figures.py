"""Figures show what the results hold, in colours and markers that can be told apart, and no name spoils them."""

import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from made_up_results import made_up
from PIL import Image

from radseg.pipelines.experiments import figures
from radseg.pipelines.experiments.results import Results
from radseg.pipelines.experiments.scores import comparisons
from radseg.pipelines.report.plots import Network
from radseg.pipelines.report.plots import parameters_against as plot_parameters_against
from radseg.pipelines.report.plots.look import COLORS, Form

PAPER = {"source": "s", "on": "o", "variants": {"full": {"dice": 0.9, "iou": 0.85}, "less": {"dice": 0.8, "iou": 0.7}}}


def pixels(png: bytes | None) -> npt.NDArray[np.int_]:
    assert png is not None
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def share(png: bytes | None, colour: str) -> int:
    """How many pixels have about that colour."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((abs(pixels(png) - wanted).max(axis=-1) < 12).sum())


def two() -> Results:
    return made_up({"full": 0.8, "less": 0.7}, folds=3, paper=PAPER, parameters={"full": 6_000_000, "less": 2_000_000})


def test_each_fold_has_its_line_and_box_in_its_colour() -> None:
    results = two()
    for png in (figures.curves(results.variants[0]), figures.boxes(results)):
        assert all(share(png, colour) > 50 for colour in COLORS[:3])
        assert share(png, COLORS[3]) == 0


def test_figures_are_wide_enough_to_be_read_in_print() -> None:
    shape = pixels(figures.boxes(two())).shape
    assert shape[1] == 1440


def test_the_paper_is_drawn_beside_ours_where_it_says_something() -> None:
    results = two()
    found = comparisons(results)
    with_paper, alone = (figures.differences(one, found) for one in (results, replace(results, paper=None)))
    assert share(with_paper, COLORS[1]) > 20
    assert share(alone, COLORS[1]) == 0
    assert figures.parameters_against(results) != figures.parameters_against(replace(results, paper=None))


def test_the_papers_diamond_stands_by_its_own_label() -> None:
    results = made_up({"full": 0.8, "less": 0.7}, labels=["one", "two"], paper={**PAPER, "label": "two"})
    picture = pixels(figures.differences(results, comparisons(results)))
    orange = (abs(picture - [0xD5, 0x5E, 0x00]).max(axis=-1) < 12).any(axis=0)
    assert np.flatnonzero(orange).min() > picture.shape[1] / 2


def test_there_is_no_figure_of_nothing() -> None:
    nothing = made_up({"full": 0.8}, failed={("full", fold): "x" for fold in range(5)})
    assert figures.boxes(nothing) is None
    assert figures.differences(nothing, comparisons(nothing)) is None
    assert figures.parameters_against(nothing) is None
    assert figures.curves(nothing.variants[0]) is not None  # of the epochs before it failed
    no_history = replace(nothing.variants[0], runs=tuple(replace(run, history=()) for run in nothing.variants[0].runs))
    assert figures.curves(no_history) is None


def test_the_papers_diamond_stands_at_its_own_number_of_parameters() -> None:
    networks = [Network("a", 10_000_000, 0.8, published=0.7), Network("b", 20_000_000, 0.9)]

    def diamond(of: list[Network]) -> int:
        """Rightmost column of the lowest score's marker, which lies below the legend."""
        lower = pixels(plot_parameters_against({"IoU": of}))[450:]
        return int(np.flatnonzero((abs(lower - [0x00, 0x72, 0xB2]).max(axis=-1) < 12).any(axis=0)).max())

    elsewhere = [replace(networks[0], published_parameters=15_000_000), networks[1]]
    assert diamond(elsewhere) > diamond(networks) + 100
    outside = [replace(networks[0], published_parameters=90_000_000), networks[1]]
    assert diamond(outside) > diamond(elsewhere)


def test_ours_stand_at_all_their_parameters_if_all_are_known() -> None:
    known = two()
    assert figures.parameters_in_total(known)
    variants = (replace(known.variants[0], total_parameters=None), *known.variants[1:])
    assert not figures.parameters_in_total(replace(known, variants=variants))


def test_networks_of_one_size_are_not_set_against_it() -> None:
    assert figures.parameters_against(made_up({"a": 0.8, "b": 0.7})) is None
    unknown = two()
    variants = tuple(replace(variant, parameters=None, total_parameters=None) for variant in unknown.variants)
    assert figures.parameters_against(replace(unknown, variants=variants)) is None


def test_a_discriminators_loss_is_in_the_curves() -> None:
    variant = two().variants[0]
    with_gan = replace(
        variant,
        runs=tuple(
            replace(run, history=tuple({**row, "discriminator_loss": 0.7} for row in run.history))
            for run in variant.runs
        ),
    )
    assert figures.curves(with_gan) != figures.curves(variant)


def test_one_case_one_fold_and_one_epoch_can_be_drawn() -> None:
    single = made_up({"full": 0.8}, folds=1, cases=1)
    run = replace(single.variants[0].runs[0], history=({"epoch": 1.0, "loss": 0.4, "val_dice": None},), best_epoch=1)
    variant = replace(single.variants[0], runs=(run,))
    assert pixels(figures.curves(variant)).size
    assert pixels(figures.boxes(replace(single, variants=(variant,)))).size


@pytest.mark.parametrize("name", ["a$_$b", r"\frac", "<b>", "脊椎", "x" * 300])
def test_any_name_can_be_a_variants(name: str) -> None:
    results = made_up({"full": 0.8, name: 0.7}, folds=2, cases=2, labels=[name], parameters={name: 5, "full": 50})
    for png in (
        figures.boxes(results),
        figures.differences(results, comparisons(results)),
        figures.parameters_against(results),
    ):
        assert pixels(png).shape[1] == 1440


def test_the_same_results_give_the_same_bytes() -> None:
    assert figures.boxes(two()) == figures.boxes(two())


def test_volumes_are_set_against_the_truth_with_each_fold_in_its_colour() -> None:
    results = two()
    assert figures.bland_altman(results) is None  # results of before sizes were recorded
    of_baseline = results.variants[0]
    runs = tuple(
        replace(run, rows=tuple(
            replace(row, truth={"volume_ml": 10.0 + place}, prediction={"volume_ml": 11.0 + place * (1 + run.fold / 9)})
            for place, row in enumerate(run.rows)
        )) for run in of_baseline.runs
    )  # fmt: skip
    sized = replace(results, variants=(replace(of_baseline, runs=runs), *results.variants[1:]))
    png = figures.bland_altman(sized)
    assert all(share(png, colour) > 50 for colour in COLORS[:3])
    failed = tuple(replace(run, status="failed") for run in runs)
    assert figures.bland_altman(replace(sized, variants=(replace(of_baseline, runs=failed),))) is None


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_figures_are_drawn_in_lines_for_print(form: Form) -> None:
    results = two()
    starts = {"svg": b"<?xml", "pdf": b"%PDF"}
    for content in (figures.curves(results.variants[0], form), figures.boxes(results, form=form)):
        assert content is not None
        assert content.startswith(starts[form])
