"""A distance is headed with the unit that it was measured in, whatever its key is called."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from html_page import Page
from made_up_results import made_up

from radseg.pipelines.experiments.model_card import markdown
from radseg.pipelines.experiments.page import write_page
from radseg.pipelines.experiments.results import Results, Variant

CT, RADIOGRAPH, PICTURE = {"volume_ml": 12.5}, {"area_mm2": 80.0, "share_of_image": 0.2}, {"share_of_image": 0.2}


def measured(*sizes: Mapping[str, float], variants: Mapping[str, float] | None = None) -> Results:
    """Results whose cases have these sizes in turn."""
    results = made_up(variants or {"lung_xray": 0.8}, folds=2, cases=4, experiment="cross-validate")

    def sized(variant: Variant) -> Variant:
        runs = (
            replace(run, rows=tuple(replace(row, truth=sizes[n % len(sizes)]) for n, row in enumerate(run.rows)))
            for run in variant.runs
        )
        return replace(variant, runs=tuple(runs))

    return replace(results, variants=tuple(sized(variant) for variant in results.variants))


@pytest.mark.parametrize(
    ("sizes", "head"),
    [
        ([CT], "HD95, mm"),
        ([RADIOGRAPH], "HD95, mm"),
        ([PICTURE], "HD95, pixels"),
        ([RADIOGRAPH, PICTURE], "HD95, mm or pixels"),
        ([{}], "HD95, mm"),  # results of before sizes were recorded
    ],
)
def test_the_heading_has_the_unit_of_what_was_measured(
    sizes: list[Mapping[str, float]], head: str, tmp_path: Path
) -> None:
    for results in (measured(*sizes), measured(*sizes, variants={"full": 0.8, "less": 0.7})):
        page = Page(write_page(results, tmp_path).read_text())
        heads = [cell for rows in page.tables for cell in rows[0] if cell.startswith("HD95")]
        assert heads == [head]
    assert f"| {head} |" in markdown(measured(*sizes))


def test_pixels_are_explained_below_the_table_and_mm_need_not_be(tmp_path: Path) -> None:
    said = "Distances are in pixels: the images don't know their spacing."
    some = "Where an image doesn't know its spacing, distances are in pixels, not mm."
    texts = [
        Page(write_page(measured(*sizes), tmp_path).read_text()).text for sizes in ([PICTURE], [CT, PICTURE], [CT])
    ]
    assert [said in text for text in texts] == [True, False, False]
    assert [some in text for text in texts] == [False, True, False]
