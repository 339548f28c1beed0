"""Plots are sharp in print, told apart without colour, the same each time, and there is none of nothing."""

import io
import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from radseg.pipelines.report.plots import (
    Difference,
    FoldScores,
    Form,
    Network,
    Sizes,
    Training,
    TrialCurve,
    TrialScore,
    bland_altman,
    difference_bars,
    fold_boxes,
    parameters_against,
    training_curves,
    trial_curves,
    trial_scores,
)
from radseg.pipelines.report.plots.look import COLORS, MARKERS, STYLES

EPOCHS = [{"epoch": number, "loss": 1 / number, "val_dice": 1 - 1 / number} for number in range(1, 9)]
PAIRS = [(10.0, 11.0), (40.0, 38.5), (100.0, 109.0), (220.0, 214.0), (35.0, 35.5)]

Plot = Callable[[Form], bytes | None]
PLOTS: dict[str, Plot] = {
    "training curves": lambda form: training_curves([Training(f"fold {n}", n, EPOCHS, 6) for n in range(2)], form),
    "fold boxes": lambda form: fold_boxes(
        {"Dice": [FoldScores("full", fold, [0.7, 0.8, 0.85]) for fold in range(2)]}, {0: "fold 0", 1: "fold 1"}, form
    ),
    "difference bars": lambda form: difference_bars(
        {"Δ Dice": [Difference("less", -0.05, (-0.08, -0.02), -0.1)]}, form
    ),
    "parameters": lambda form: parameters_against(
        {"IoU": [Network("small", 2_000_000, 0.7, 0.02, 0.72), Network("large", 30_000_000, 0.75)]}, form
    ),
    "scores of trials": lambda form: trial_scores(
        [TrialScore(0, "done", 0.7), TrialScore(1, "failed", None), TrialScore(2, "pruned", 0.4)], "Dice", form=form
    ),
    "curves of trials": lambda form: trial_curves(
        [TrialCurve(0, "done", [(1, 0.5), (2, 0.7)]), TrialCurve(1, "pruned", [(1, 0.4)])], "Dice", 0, form
    ),
    "Bland–Altman": lambda form: bland_altman([Sizes("lesion", "ml", {"a": PAIRS, "b": PAIRS[:3]})], form),
}


def drawn(plot: Plot, form: Form = "png") -> bytes:
    content = plot(form)
    assert content is not None
    return content


def pixels(png: bytes | None) -> npt.NDArray[np.int_]:
    assert png is not None
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def rows_with(png: bytes | None, colour: str) -> npt.NDArray[np.int_]:
    """Rows of the picture that have about that colour."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return np.flatnonzero((abs(pixels(png) - wanted).max(axis=-1) < 12).any(axis=1))


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_wide_enough_for_print_and_comes_as_lines_too(name: str) -> None:
    plot = PLOTS[name]
    assert pixels(drawn(plot)).shape[1] == 1440  # 9.6 inches of 150 dots
    svg = drawn(plot, "svg").decode()
    assert "<svg" in svg
    assert "<image" not in svg  # no dots inside
    pdf = drawn(plot, "pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/CIDFontType2" in pdf or b"/TrueType" in pdf  # text stays text
    assert b"/Subtype /Image" not in pdf


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_numbers_give_the_same_bytes_and_no_date(form: Form) -> None:
    content = drawn(PLOTS["difference bars"], form)
    assert content == PLOTS["difference bars"](form)
    assert not re.search(rb"CreationDate|dc:date|Matplotlib v", content)


def test_there_is_no_plot_of_nothing() -> None:
    assert training_curves([Training("fold 0", 0, [])]) is None
    assert training_curves([]) is None
    assert fold_boxes({}, {}) is None
    assert fold_boxes({"Dice": [FoldScores("full", 0, [])]}, {0: "fold 0"}) is None
    assert difference_bars({"Δ": [Difference("less", None, None, 0.1)]}) is None
    assert parameters_against({"IoU": [Network("a", 5, 0.7), Network("b", 5, 0.8)]}) is None
    assert trial_scores([TrialScore(0, "failed", None)], "Dice") is None
    assert trial_curves([TrialCurve(0, "failed", [])], "Dice") is None
    assert bland_altman([]) is None
    assert bland_altman([Sizes("lesion", "ml", {"cases": PAIRS[:2]})]) is None


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_epochs_and_trials_are_whole_numbers_however_few_there_are(epochs: int) -> None:
    history = [{"epoch": float(n), "loss": 0.123, "val_dice": 0.456} for n in range(1, epochs + 1)]
    scores = [(n, 0.456) for n in range(1, epochs + 1)]
    for plot, numbered in (
        (lambda form: training_curves([Training("fold a", 0, history)], form), 1),
        (lambda form: trial_curves([TrialCurve(0, "done", scores)], "Dice", form=form), 1),
        (lambda form: trial_scores([TrialScore(n, "done", 0.456) for n in range(epochs)], "Dice", form=form), 0),
    ):
        axis = drawn(plot, "svg").decode().partition('<g id="matplotlib.axis_1">')[2]
        ticks = re.findall(r"<!-- (.*?) -->", axis.partition('<g id="matplotlib.axis_2">')[0])[:-1]
        assert ticks
        assert all(tick.isdecimal() for tick in ticks), ticks
        assert epochs > 3 or [int(tick) for tick in ticks] == list(range(numbered, numbered + epochs))


def test_series_are_told_apart_without_their_colour() -> None:
    assert len(set(MARKERS)) == len(COLORS)
    assert len(set(STYLES)) >= 5
    assert "D" not in MARKERS  # the paper's, or a mean


def test_the_first_five_colours_stand_out_from_paper_and_from_their_neighbours_in_grey() -> None:
    """Okabe and Ito's palette. WCAG 2.2, 1.4.11 asks 3 to 1 of graphics; reddish purple has 2.9, and its own marker."""
    light = [_lightness(colour) for colour in COLORS[:5]]
    assert min(1.05 / (one + 0.05) for one in light) > 2.85
    assert set(COLORS) < {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert min(abs(one - other) for one, other in pairwise(light)) > 0.02


def test_prediction_minus_truth_is_drawn_upwards() -> None:
    """The first three cases are predicted too large, the others too small: blue is above orange."""
    over, under = [(10.0, 15.0), (50.0, 55.5), (90.0, 94.0)], [(10.0, 5.0), (50.0, 44.5), (90.0, 86.0)]
    png = bland_altman([Sizes("lesion", "ml", {"over": over, "under": under})])
    panel = int(pixels(png).shape[0] * 0.6)  # below it stands the legend
    blue, orange = (rows[rows < panel] for rows in (rows_with(png, COLORS[0]), rows_with(png, COLORS[1])))
    assert blue.size
    assert orange.size
    assert blue.max() < orange.min()


def test_bias_and_limits_are_written_with_their_intervals() -> None:
    svg = drawn(
        lambda form: bland_altman([Sizes("lesion", "ml", {"all": [(10, 11), (20, 22), (30, 33)]})], form), "svg"
    )
    comments = re.findall(r"<!-- (.*?) -->", svg.decode())
    assert {
        "bias 2.00 (−0.48 to 4.48) ml",
        "lower limit 0.04 (−4.85 to 4.93) ml",
        "upper limit 3.96 (−0.93 to 8.85) ml",
    } < set(comments)
    assert "lesion: 3 cases" in comments


@pytest.mark.parametrize(
    "pairs",
    [
        [(5.0, 5.0)] * 3,
        [(0.0, 3.0), (3.0, 0.0), (0.0, 1e-9)],
        [(1e6, 1.2e6), (2e6, 1.5e6), (1e5, 3e6)],
        [(float(n), n * 1.1) for n in range(1, 1001)],
    ],
    ids=["equal", "one empty", "huge", "a thousand"],
)
def test_any_sizes_can_be_drawn(pairs: list[tuple[float, float]]) -> None:
    assert pixels(bland_altman([Sizes("lesion", "ml", {"all": pairs})])).shape[1] == 1440


def test_many_labels_stand_two_a_row_and_those_of_few_cases_are_left_out() -> None:
    panels = [Sizes(f"label {n}", "ml", {"all": PAIRS}) for n in range(3)]
    one, three = (pixels(bland_altman(several)) for several in (panels[:1], [*panels, Sizes("x", "ml", {"all": []})]))
    assert three.shape[0] > 1.8 * one.shape[0]


@pytest.mark.parametrize("name", [r"a$_$\frac<b>", "脊椎", "x" * 300])
def test_any_name_can_stand_in_a_plot(name: str) -> None:
    assert pixels(bland_altman([Sizes(name, "ml", {name: PAIRS, "b": PAIRS})])).size
    assert pixels(training_curves([Training(name, 0, EPOCHS)])).size
    assert pixels(fold_boxes({name: [FoldScores(name, 0, [0.5])]}, {0: name})).size


def _lightness(colour: str) -> float:
    """Relative luminance, 0–1 (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
