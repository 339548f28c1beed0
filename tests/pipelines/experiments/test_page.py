"""The page of an experiment: all it holds is inside it, every number has its place, and nothing missing is hidden."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from contrast import contrast
from html_page import Page
from made_up_results import made_up

from radseg.pipelines.experiments.model_card import markdown
from radseg.pipelines.experiments.page import write_page
from radseg.pipelines.experiments.page_template import STYLE
from radseg.pipelines.experiments.results import Machine, Origin, Results
from radseg.pipelines.experiments.scores import over_folds
from radseg.pipelines.experiments.tables import fold_tables, further_tables

FOLDS = {
    "source": "Bakheet et al., Table 2",
    "on": "2,729 CT slices, split by slice",
    "folds": [{"dice": 0.8317, "iou": 0.7119}, {"dice": 0.8314, "iou": 0.7115}],
    "mean": {"dice": 0.8297, "iou": 0.7089},
}
VARIANTS = {
    "source": "Saeed et al., Table 1",
    "on": "235 CT images",
    "label": "fracture",
    "variants": {"full": {"dice": 0.9187, "iou": 0.9336}, "no FFM": {"dice": 0.8618, "iou": 0.8739}},
}
HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&b's", "$title", "</table>", "脊椎"]


def page_of(results: Results, folder: Path) -> Page:
    return Page(write_page(results, folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Page]:
    results = made_up(
        {"full": 0.83, "no FFM": 0.78, "no SEM": 0.82},
        labels=["vertebra", "fracture"], folds=3, paper=VARIANTS, simulated=True,
        failed={("no SEM", 1): "the training diverged in epoch 4 (loss not finite); lower learning_rate"},
        missing=[("no SEM", 2)],
    )  # fmt: skip
    return results, page_of(results, tmp_path_factory.mktemp("ablation"))


def test_folds_stand_beside_the_papers_with_mean_and_sd(tmp_path: Path) -> None:
    results = made_up({"lung_ct": 0.71}, folds=2, paper=FOLDS, experiment="cross-validate")
    page = page_of(results, tmp_path)
    rows = page.table("paper")
    assert rows[1] == ["Fold", "Cases", "ours", "paper", "ours", "paper"]
    found = over_folds(results.variants[0], "lesion", "dice")
    assert [row[:4:3] for row in rows[2:]] == [
        ["fold 0", "0.8317"], ["fold 1", "0.8314"], ["Mean", "0.8297"], ["± sd", "0.0002"]
    ]  # fmt: skip
    assert [row[2] for row in rows[-2:]] == [f"{found.mean:.4f}", f"{found.sd:.4f}"]
    assert "Cross-validation of lung_ct" in page.text
    assert "The paper's folds aren't ours" in page.text


def test_every_table_says_what_it_was_measured_on(ablation: tuple[Results, Page]) -> None:
    _, page = ablation
    of_scores = len(page.tables) - 1  # the first is that of what it was run on itself
    assert of_scores >= 5
    said = "Ours on 24 cases of 6 patients, simulated (sha256 abababababab), by patient; cpu, AMD EPYC 9R14, "
    assert page.text.count(said) == page.text.count("Paper on 235 CT images.") == of_scores
    first = {row[0]: row[1:] for row in page.tables[0]}
    assert first["Data"] == ["24 cases of 6 patients", "235 CT images"]
    assert first["Simulated"] == ["yes, at least in part", "not stated"]
    assert first["Machine"] == ["AMD EPYC 9R14, 2 cores, 16 GB memory; trained on cpu", "not stated"]
    assert "commit 75a294113ad0" in first["Source"][0]
    assert first["Data set's sha256"][0] == "ab" * 32


def test_variants_stand_beside_the_papers_by_the_label_that_it_is_of(ablation: tuple[Results, Page]) -> None:
    results, page = ablation
    rows = page.table("paper")
    assert rows[0][-2:] == ["Dice", "IoU"]
    assert rows[1][4:7] == ["vertebra", "fracture", "paper"]
    found = over_folds(results.variants[1], "fracture", "dice")
    assert rows[3][0] == "no FFM"
    assert rows[3][5:7] == [f"{found.mean:.4f} ± {found.sd:.4f}", "0.8618"]
    assert rows[4][3] == "1 of 3"
    assert rows[4][6] == "–"


def test_differences_have_interval_p_and_what_the_paper_found(ablation: tuple[Results, Page]) -> None:
    _, page = ablation
    rows = {row[0]: row[1:] for row in page.table("95 % interval")}
    assert rows["no FFM: fracture"][0] == "24 / 24"
    assert rows["no FFM: fracture"][-1] == "−0.0569"
    assert rows["no FFM: vertebra"][-1] == "–"
    assert re.fullmatch(r"−0\.\d{4} … −0\.\d{4}", rows["no FFM: fracture"][2])
    assert "Holm's correction for the 4 tests" in page.text
    assert "so that intervals are too narrow" in page.text  # no datalist says whose the cases are


def test_patients_are_taken_from_the_folds(tmp_path: Path) -> None:
    results = made_up({"full": 0.83, "less": 0.8}, folds=2, cases=4)
    (tmp_path / "folds").mkdir()
    for fold in range(2):
        items = [{"image": f"{number}.png", "patient": f"{fold}-{number // 2}"} for number in range(4)]
        (tmp_path / "folds" / f"fold_{fold}.json").write_text(json.dumps({"test": items}))
    page = page_of(results, tmp_path)
    assert page.table("95 % interval")[1][1] == "8 / 4"
    assert "Cases of one patient are drawn together" in page.text
    assert "With fewer than 6 differing pairs p can't fall below .05" in page.text
    assert "| 8 / 4 |" in markdown(results, tmp_path)
    assert "| 8 / 8 |" in markdown(results)


def test_what_failed_or_is_missing_is_said_in_words(ablation: tuple[Results, Page]) -> None:
    _, page = ablation
    assert "7 of 9 runs done." in page.text
    assert "1 run failed" in page.text
    assert "no SEM: fold 1 failed: the training diverged in epoch 4 (loss not finite); lower learning_rate" in page.text
    assert "no SEM: fold 2 not run" in page.text
    by_fold = next(rows for rows in page.tables if rows[0][:2] == ["Variant", "fold 0"])
    assert by_fold[3][2:4] == ["failed", "not run"]


def test_an_unfinished_experiment_is_called_partial_in_its_header(tmp_path: Path) -> None:
    results = made_up({"spine": 0.8}, folds=5, missing=[("spine", 3), ("spine", 4)], failed={("spine", 1): "x"})
    folds = replace(results, experiment="cross-validate")
    for tag in ("title", "h1"):
        assert (
            f"<{tag}>Cross-validation of lung_ct, partial: 2 of 5 folds done</{tag}>" in page_of(folds, tmp_path).source
        )
    assert markdown(folds).startswith("**Partial: 2 of 5 folds done.**\n")
    runs = made_up({"full": 0.8, "less": 0.7}, folds=2, missing=[("less", 1)])
    assert "<h1>Ablation of lung_ct, partial: 3 of 4 runs done</h1>" in page_of(runs, tmp_path).source
    whole = made_up({"full": 0.8}, folds=2)
    assert "artial" not in page_of(whole, tmp_path).source + markdown(whole)


def test_one_is_said_in_the_singular(tmp_path: Path) -> None:
    results = made_up({"full": 0.8}, folds=1, cases=1)
    results = replace(results, dataset=replace(results.dataset, said=""))
    text = page_of(results, tmp_path).text
    assert "1 of 1 run done." in text
    assert "1 fold by patient" in text
    assert not re.search(r"\b1 (runs|folds|cases|epochs|tests)\b", text)


def test_a_leak_is_said_in_red_and_simulated_data_too(tmp_path: Path, ablation: tuple[Results, Page]) -> None:
    results = made_up({"lung_ct": 0.8}, by="image", folds=2, experiment="cross-validate")
    page = page_of(results, tmp_path)
    assert ("p", {"class": "leak", "role": "note"}) in page.tags
    assert "Leak: training and test may share patients (2 folds by image, seed 0)." in page.text
    assert "by image, with a leak" in page.text
    assert re.search(r"\.leak \{ color: var\(--failed\)", STYLE)
    assert "Simulated" not in re.sub(r"Simulated\s*no", "", page.text)
    _, other = ablation
    assert "Leak" not in other.text
    assert "Simulated: tested cases are simulated; these are not scores of patients." in other.text


def test_runs_of_other_commits_and_machines_are_told_apart(tmp_path: Path) -> None:
    results = made_up({"full": 0.8}, folds=3, cases=2, experiment="cross-validate")
    (variant,) = results.variants
    elsewhere = (Origin("0123456789ab", Machine("Xeon", 8, 64.0, "NVIDIA H100")),)
    runs = [variant.runs[0], replace(variant.runs[1], origins=elsewhere), replace(variant.runs[2], origins=())]
    mixed = replace(results, variants=(replace(variant, runs=tuple(runs)),))
    page = page_of(mixed, tmp_path)
    assert "Runs are of different commits (75a294113ad0: 1 run; 0123456789ab: 1 run)" in page.text
    assert "Runs are of different machines (AMD EPYC 9R14, 2 cores" in page.text
    assert "1 of 3 runs don't say with which commit and machine they were made." in page.text
    first = {row[0]: row[1:] for row in page.tables[0]}
    assert "commits 75a294113ad0 and 0123456789ab" in first["Source"][0]
    assert "Xeon, 8 cores, 64 GB memory; trained on NVIDIA H100" in first["Machine"][0]
    assert "; cpu, AMD EPYC 9R14 and NVIDIA H100, Xeon, " in page.text
    cost = page.table("Commit")
    assert [row[-2] for row in cost[1:]] == ["commit 75a294113ad0", "commit 0123456789ab", "commit not recorded"]
    assert "Runs are of different commits" in markdown(mixed)
    assert "different" not in page_of(results, tmp_path).text


def test_figures_are_inside_and_have_words(ablation: tuple[Results, Page]) -> None:
    _, page = ablation
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 1 + 1 + 3  # differences, boxes, the curves of three
    for image in images:
        assert image["alt"]
        source = image["src"] or ""
        assert b"<svg" in base64.b64decode(source.removeprefix("data:image/svg+xml;base64,"))


def test_a_comparison_shows_parameters_against_iou(tmp_path: Path) -> None:
    results = made_up(
        {"small": 0.8, "large": 0.83}, folds=2, cases=3, experiment="compare",
        parameters={"small": 8_047_441, "large": 29_933_105},
    )  # fmt: skip
    page = page_of(results, tmp_path)
    assert "IoU against the network's parameters in total" in page.text
    assert page.table("Parameters")[1][1:3] == ["trained", "total"]
    assert page.table("Parameters")[2][1:3] == ["8,047,441", "8,053,329"]


def test_the_papers_numbers_of_parameters_stand_beside_ours(tmp_path: Path) -> None:
    paper = {**VARIANTS, "parameters": {"full": 29_930_000}}
    rows = page_of(made_up({"full": 0.8, "no FFM": 0.7}, folds=2, paper=paper), tmp_path).table("Parameters")
    assert rows[1][1:4] == ["trained", "total", "paper, total"]
    assert [row[3] for row in rows[2:]] == ["29.93 M", "–"]
    one = made_up({"lung_ct": 0.7}, folds=2, experiment="cross-validate",
                  paper={**FOLDS, "parameters": {"lung_ct": 11_883_022}})  # fmt: skip
    first = {row[0]: row[1:] for row in page_of(one, tmp_path).tables[0]}
    assert first["Parameters"] == ["11,877,134 trained, 11,883,022 in total", "11,883,022 in total"]


def test_the_page_loads_nothing_and_runs_nothing(ablation: tuple[Results, Page]) -> None:
    _, page = ablation
    assert not [scheme for scheme in ("http:", "https:", "file:", "url(") if scheme in page.source]
    assert not {"script", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    addresses = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.tags]
    assert {address.partition(":")[0] for address in addresses if address and address[0] != "#"} == {"data"}
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {address[1:] for address in addresses if address.startswith("#")} <= targets
    assert "default-src 'none'" in page.source


@pytest.mark.parametrize("folds", [1, 3])
def test_the_page_is_whole_html_whatever_ended(tmp_path: Path, folds: int) -> None:
    every = [("full", fold) for fold in range(folds)]
    several = {
        "done": made_up({"full": 0.8}, folds=folds, cases=1, undefined=True),
        "failed": made_up({"full": 0.8}, folds=folds, failed=dict.fromkeys(every, "out of memory")),
        "nothing": replace(made_up({"full": 0.8}, folds=folds, missing=every), labels=()),
        "unscored": replace(made_up({"full": 0.8, "b": 0.7}, folds=folds, failed={("full", 0): "x"}), labels=()),
        "no variant": replace(made_up({"full": 0.8}, folds=folds), variants=()),
    }
    for name, results in several.items():
        page = page_of(results, tmp_path)
        assert (page.open, page.unmatched) == ([], []), name
        if name in ("failed", "nothing"):
            assert "No run has ended with scores yet." in page.text
            assert "No score of full yet." in page.text
        assert not re.search(r"\b(nan|None|inf)\b", page.text), name


def test_an_error_does_not_tell_where_the_experiment_lies(tmp_path: Path) -> None:
    error = f"{tmp_path}/full/fold_0/last.pt: damaged; delete it"
    page = page_of(made_up({"full": 0.8}, folds=1, failed={("full", 0): error}), tmp_path)
    assert "full: fold 0 failed: full/fold_0/last.pt: damaged; delete it" in page.text
    assert str(tmp_path) not in page.source


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    tag = HOSTILE[1]
    results = made_up(
        {"full": 0.8, **dict.fromkeys(HOSTILE[:2], 0.7)}, folds=2, cases=2, labels=HOSTILE[2:], case_name=tag,
        failed={(tag, 1): tag}, paper={"source": tag, "on": HOSTILE[0], "variants": {tag: {"dice": 0.5, tag: 1}}},
    )  # fmt: skip
    results = replace(results, bundle=tag, overrides={tag: tag}, dataset=replace(results.dataset, said=tag))
    page = page_of(results, tmp_path)
    assert (page.open, page.unmatched) == ([], [])
    assert all(name in page.text for name in HOSTILE)
    assert not {"script", "iframe"} & {tag for tag, _ in page.tags}
    assert {(attributes["src"] or "")[:5] for tag, attributes in page.tags if tag == "img"} == {"data:"}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]


def test_the_text_can_be_read_on_every_background() -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1, on the screen and on paper."""
    screen, paper = STYLE.split("@media print")
    for style in (screen, paper):
        found = re.findall(r"--(\w+): #([0-9a-f]{6}|[0-9a-f]{3})\b", style)
        colours = {name: value if len(value) == 6 else "".join(2 * digit for digit in value) for name, value in found}
        grounds = [colours.pop(name) for name in ("page", "line", "head")]
        edge = colours.pop("edge")
        assert set(colours) == {"text", "quiet", "link", "failed", "warned", "done"}
        assert min(contrast(ink, ground) for ink in colours.values() for ground in grounds) >= 4.5
        assert contrast(edge, grounds[0]) >= 3


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_page(made_up({"full": 0.8}, folds=1), tmp_path).read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_page(made_up({"full": 0.7}, folds=1), tmp_path)
    assert (tmp_path / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    results = made_up({"full": 0.8}, folds=2, cases=3)
    assert write_page(results, tmp_path).read_bytes() == write_page(results, tmp_path).read_bytes()


def test_a_model_card_gets_folds_mean_and_paper_as_markdown() -> None:
    results = made_up({"lung_ct": 0.71}, folds=2, paper=FOLDS, by="image")
    card = markdown(results)
    lines = card.splitlines()
    at = lines.index("| Fold | Cases | Dice, ours | Dice, paper | IoU, ours | IoU, paper |")
    assert lines[at + 1] == "|---|---:|---:|---:|---:|---:|"
    assert lines[at + 2].startswith("| fold 0 | 8 | 0.")
    assert lines[at + 4].split(" | ")[3] == "0.8297"
    assert lines[0].startswith("**Leak: training and test may share patients")
    assert "Paper on 2,729 CT slices, split by slice." in card
    assert all(line.count("|") == 7 for line in lines[at : at + 6])


def test_names_stay_names_in_markdown() -> None:
    results = made_up({"full": 0.8, "a|b *c* <i>\nd": 0.7}, folds=2, cases=2)
    card = markdown(results)
    assert r"| a\|b \*c\* \<i\> d |" in card
    assert "Difference to the baseline" in card


@pytest.mark.parametrize(("size", "said"), [("share_of_image", True), ("area_mm2", False), ("volume_ml", False)])
def test_distances_in_pictures_without_a_spacing_are_called_pixels(size: str, said: bool) -> None:
    results = made_up({"full": 0.8, "none": 0.7}, folds=2)
    sized = [
        replace(one, runs=tuple(
            replace(run, rows=tuple(replace(row, truth={"share_of_image": 0.2, size: 3.0}) for row in run.rows))
            for run in one.runs
        ))
        for one in results.variants
    ]  # fmt: skip
    results = replace(results, variants=tuple(sized))
    tables = [*further_tables(results), *fold_tables(results, sized[0])]
    assert ["in pixels" in table.note for table in tables] == [said, said]
