"""The page in a real browser: tables are whole or seen to scroll, and a worst case can fill the window."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import browser
import numpy as np
import pytest
from made_up_results import made_up

from radseg.pipelines.experiments.case_picture import draw_case
from radseg.pipelines.experiments.page import write_page
from radseg.pipelines.experiments.worst_cases import Drawn, worst_cases
from radseg.pipelines.io import Volume

WIDTH, HEIGHT = 1300, 900


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation with the widest tables, and two worst cases of which one was drawn."""
    output = tmp_path_factory.mktemp("experiment")
    results = made_up({"full": 0.83, "no FFM": 0.78}, labels=["vertebra", "fractured vertebra"], folds=2, cases=1)
    shape = (60, 60, 1)
    truth, found = np.zeros(shape, bool), np.zeros(shape, bool)
    truth[10:40, 10:40], found[20:50, 20:50] = True, True
    grey = Volume(np.random.default_rng(0).normal(0, 300, shape), np.diag([-1.0, -1, 1, 1]), "grey", is_picture=True)
    (output / "worst_cases").mkdir()
    (output / "worst_cases" / "1.png").write_bytes(draw_case(grey, truth, found).png)
    first, second = worst_cases(results)
    drawn = [Drawn(first, "1.png", "part of the image", first.dice), Drawn(second, None, "not drawn: it is gone", None)]
    content = {"seconds": 1.0, "cases": [asdict(one) for one in drawn]}
    (output / "worst_cases" / "worst_cases.json").write_text(json.dumps(content))
    write_page(results, output)
    return output


@pytest.fixture(scope="module")
def window(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as chromium:
        page = chromium.page(WIDTH, HEIGHT)
        page.open((folder / "index.html").as_uri())
        yield page


def test_no_table_is_cut_off_in_a_window_of_1300_pixels(window: browser.Page) -> None:
    window.resize(WIDTH, HEIGHT)
    window.frame()
    cut_off = "[...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert window.run("document.querySelectorAll('.wide').length") >= 6
    assert window.run(cut_off) == 0


def test_in_a_narrow_window_a_table_scrolls_under_a_bar_that_is_seen_and_its_row_heads_stay(
    window: browser.Page,
) -> None:
    window.resize(700, HEIGHT)
    window.frame()
    assert window.run("document.documentElement.scrollWidth") <= 700  # the page itself doesn't
    widest = (
        "const all = [...document.querySelectorAll('.wide')];"
        "const one = all.reduce((a, b) => (b.scrollWidth > a.scrollWidth ? b : a));"
    )
    seen = window.run(
        f"(() => {{ {widest} one.scrollLeft = 1e6; const head = one.querySelector('tbody th').getBoundingClientRect();"
        " return [one.scrollWidth > one.clientWidth, one.scrollLeft, head.left - one.getBoundingClientRect().left,"
        " getComputedStyle(one, '::-webkit-scrollbar').height]; })()"
    )
    assert seen[0]
    assert seen[1] > 0
    assert abs(seen[2]) < 1
    assert float(seen[3].removesuffix("px")) > 8


def test_a_worst_case_fills_the_window_when_it_is_clicked_and_closes_again(window: browser.Page) -> None:
    window.resize(WIDTH, HEIGHT)
    window.frame()
    small = window.box(".case img")
    assert small[2] >= 500
    window.click("#case-1 img")
    window.wait_for("location.hash === '#case-1'")
    window.frame()
    assert window.box("#case-1") == (0, 0, WIDTH, HEIGHT)
    _, top, width, height = window.box(".case img")
    assert width > 2 * small[2]
    assert top + height < HEIGHT  # the caption is still there
    window.click("#case-1 img")
    window.wait_for("location.hash === '#worst'")
    window.frame()
    assert window.box(".case img")[2:] == small[2:]


def test_the_keyboard_alone_enlarges_and_closes(window: browser.Page) -> None:
    window.run("document.querySelector('#case-1 .enlarge').focus()")
    window.press("Enter")
    window.wait_for("location.hash === '#case-1'")
    window.run("document.querySelector('#case-1 .close').focus()")
    window.press("Enter")
    window.wait_for("location.hash === '#worst'")
    assert window.run("document.activeElement.className") in ("close", "")


def test_a_case_without_a_picture_offers_nothing_to_enlarge(window: browser.Page) -> None:
    assert window.run("document.querySelectorAll('.case').length") == 2
    assert window.run("document.querySelectorAll('.enlarge, .close').length") == 2  # both of the first
    assert window.run("document.querySelector('#case-2 .enlarge')") is None


def test_the_page_asks_for_nothing_and_nothing_complains(window: browser.Page, folder: Path) -> None:
    assert {url.partition("#")[0] for url in window.requests} == {(folder / "index.html").as_uri()}
    assert window.complaints == []
