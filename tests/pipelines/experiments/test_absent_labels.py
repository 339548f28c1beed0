"""A mean over folds that don't all hold the label is marked where it stands, and the mark is explained right there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from html_page import Page
from made_up_results import made_up

from radseg.pipelines.experiments.model_card import markdown
from radseg.pipelines.experiments.notes import never_learned
from radseg.pipelines.experiments.page import write_page
from radseg.pipelines.experiments.results import Results, Row, Run
from radseg.pipelines.experiments.scores import over_folds
from radseg.pipelines.experiments.summary import summary
from radseg.pipelines.experiments.tables import fold_tables

LABELS = ("vertebra", "fracture")


def without(results: Results, label: str, folds: Sequence[int]) -> Results:
    """The results if no case of these folds held the label, and nothing was predicted there."""

    def emptied(row: Row) -> Row:
        return replace(row, metrics={**row.metrics, "dice": 1.0, "voxels_truth": 0.0, "voxels_prediction": 0.0})

    def changed(run: Run) -> Run:
        if run.fold not in folds:
            return run
        return replace(run, rows=tuple(emptied(row) if row.label == label else row for row in run.rows))

    variants = (replace(one, runs=tuple(changed(run) for run in one.runs)) for one in results.variants)
    return replace(results, variants=tuple(variants))


def cross_validation(folds: Sequence[int] = (1,)) -> Results:
    results = made_up({"spine": 0.6}, labels=LABELS, folds=3, cases=2, experiment="cross-validate")
    return without(results, "fracture", folds)


def of_the_others(results: Results, folds: Sequence[int]) -> str:
    (variant,) = results.variants
    rest = over_folds(replace(variant, runs=tuple(variant.runs[fold] for fold in folds)), "fracture", "dice")
    return f"{rest.mean:.4f}" + ("" if rest.sd is None else f" ± {rest.sd:.4f}")


def test_the_headline_marks_the_label_and_the_header_says_why(tmp_path: Path) -> None:
    results = cross_validation()
    source = write_page(results, tmp_path).read_text()
    header = Page(source.partition("</header>")[0]).text
    found = over_folds(results.variants[0], "fracture", "dice")
    assert f"fracture {found.mean:.4f} ± {found.sd:.4f} †. 3 of 3 runs done." in header
    assert (
        "† fracture: no tested case of fold 1 holds it, so its overlap there is 1 where nothing was predicted, else 0; "
        f"over the 2 other folds its mean Dice is {of_the_others(results, [0, 2])}." in header
    )
    assert "† vertebra" not in header


def test_the_table_marks_fold_and_mean_and_explains_right_below_itself(tmp_path: Path) -> None:
    results = cross_validation()
    vertebra, fracture = fold_tables(results, results.variants[0])
    assert [row[0] for row in vertebra.rows] == ["fold 0", "fold 1", "fold 2", "Mean", "± sd"]
    assert [row[0] for row in fracture.rows] == ["fold 0", "fold 1 †", "fold 2", "Mean †", "± sd †"]
    source = write_page(results, tmp_path).read_text()
    below = source.split("Scores of fracture by fold</caption>")[1].partition("</table></div>\n")[2]
    assert below.startswith('<p class="warned">† fracture: no tested case of fold 1 holds it')


def test_a_model_card_carries_the_mark_and_its_meaning() -> None:
    card = markdown(cross_validation())
    assert "| Mean † | 6 |" in card
    assert card.index("| ± sd † |") < card.index("† fracture: no tested case of fold 1 holds it")


def test_the_terminal_marks_the_mean_and_says_why() -> None:
    results = cross_validation((1, 2))
    found = over_folds(results.variants[0], "fracture", "dice")
    lines = list(summary(results))
    assert lines[1] == f"spine: fracture Dice {found.mean:.4f} ± {found.sd:.4f} †, folds done: 3"
    assert "†" not in lines[0]
    assert lines[2] == (
        "† fracture: no tested case of fold 1 and fold 2 holds it, so its overlap there is 1 where nothing was "
        f"predicted, else 0; over the other fold its mean Dice is {of_the_others(results, [0])}."
    )


def test_a_label_that_no_fold_holds_is_said_to_be_unknown() -> None:
    said = [line for line in summary(cross_validation((0, 1, 2))) if line.startswith("†")]
    assert len(said) == 1
    assert "fold 0 and fold 1 and fold 2" in said[0]
    assert said[0].endswith("else 0, and no fold says how well it is found.")


def test_every_variants_mean_is_marked_and_explained_once_a_table(tmp_path: Path) -> None:
    results = without(made_up({"full": 0.8, "less": 0.7}, labels=LABELS, folds=3, cases=2), "fracture", [1])
    page = Page(write_page(results, tmp_path).read_text())
    rows = page.table("Parameters")
    assert rows[1][4:6] == list(LABELS)
    assert all(row[5].endswith(" †") and "†" not in row[4] for row in rows[2:])
    by_fold = [rows for rows in page.tables if rows[0][:2] == ["Variant", "fold 0"]]
    assert [[row[-1].endswith(" †") for row in rows[1:]] for rows in by_fold] == [[False, False], [True, True]]
    further = [rows for rows in page.tables if "Precision" in rows[0]]
    assert [[row[0] for row in rows[1:]] for rows in further] == [["full", "less"], ["full †", "less †"]]
    below = "† fracture: no tested case of fold 1 holds it, so its overlap there is 1 where nothing was predicted"
    assert page.text.count(below) == 1 + 3  # the header, and each table with a mark


def test_a_label_that_a_fold_could_not_learn_is_marked_too() -> None:
    results = made_up({"spine": 0.6}, labels=LABELS, folds=2, cases=2)
    (variant,) = results.variants
    noted = replace(variant.runs[0], notes=(never_learned("fracture"),))
    lines = list(summary(replace(results, variants=(replace(variant, runs=(noted, variant.runs[1])),))))
    assert [" †," in line for line in lines[:2]] == [False, True]
    assert lines[2] == "† fracture: no training item of fold 0 holds it, so the network there can't have learned it."


def test_nothing_is_marked_where_every_fold_holds_every_label(tmp_path: Path) -> None:
    results = made_up({"full": 0.8, "less": 0.7}, labels=LABELS, folds=2, cases=2)
    assert "†" not in write_page(results, tmp_path).read_text()
    assert "†" not in markdown(results)
    assert "†" not in "\n".join(summary(results))
