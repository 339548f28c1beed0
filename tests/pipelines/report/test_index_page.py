"""The page of a batch: complete, safe against any name, readable, and the same without a network."""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import browser
import numpy as np
import pytest
from contrast import contrast
from PIL import Image

from radseg.pipelines.report.index_page import write_index
from radseg.pipelines.report.index_template import STYLE

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "a&b's #1?x=50%25",
    "Мозг 脊椎",
    "$rows",
]


def done(
    case: str,
    volume: float = 1.0,
    warnings: tuple[str, ...] = (),
    seconds: float = 1.0,
    flags: tuple[str, ...] = (),
) -> dict[str, Any]:
    labels = {"left <lung>": {"volume_ml": volume}}
    row = {"status": "done", "case": case, "labels": labels, "warnings": warnings, "seconds": {"read": seconds}}
    return {**row, "flags": flags} if flags else row


class Page(HTMLParser):
    """What a browser finds in the page: tags, and the text of each cell without its links."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed((folder / "index.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and self.tags[-1][0] not in ("a", "script"):
            self.rows[-1][-1] += data.strip()

    def each(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def case_in(folder: Path, name: str, *files: str) -> None:
    (folder / name).mkdir()
    Image.new("RGB", (40, 20), "red").save(folder / name / "preview.png")
    for file in files:
        (folder / name / file).touch()


def test_flagged_come_first_then_failed_then_doubtful_then_refused_then_the_rest(tmp_path: Path) -> None:
    rows = [
        done("a"),
        done("b", warnings=("cut off", "noisy")),
        done("head", warnings=("noisy", "no lungs were found"), flags=("no lungs were found",)),
        {"status": "refused", "input": "0123", "reason": "Modality MR, expected CT"},
        {"status": "failed", "case": "z", "reason": "damaged"},
        {"status": "failed", "case": "c", "reason": "the disk was full"},
        done("c", volume=1234.6, seconds=61.26),
    ]
    write_index(tmp_path, rows)
    page = Page(tmp_path)
    assert page.rows == [
        ["Preview", "Case", "Status", "left <lung>, ml", "Warnings", "Seconds"],
        ["", "head", "done,flagged", "1", "no lungs were foundnoisy", "1.0"],
        ["", "z", "faileddamaged", "", "", ""],
        ["", "b", "done", "1", "cut offnoisy", "1.0"],
        ["", "0123", "refusedModality MR, expected CT", "", "", ""],
        ["", "a", "done", "1", "", "1.0"],
        ["", "c", "done", "1235", "", "61.3"],
    ]
    text = (tmp_path / "index.html").read_text()
    assert "4 done (1 flagged, 2 with warnings), 1 failed, 1 refused" in text
    assert "Not a medical device" in text


def test_links_lead_to_the_files_that_are_there(tmp_path: Path) -> None:
    case_in(tmp_path, "a", "mask.nii.gz", "segmentation.dcm", "statistics.json")
    case_in(tmp_path, "b", "mask.png")
    write_index(tmp_path, [done("a"), done("b"), done("gone"), {"status": "failed", "case": "a b", "reason": "x"}])
    page = Page(tmp_path)
    links = [link["href"] or "" for link in page.each("a")]
    assert links == [
        *("./a/preview.png", "./a/mask.nii.gz", "./a/segmentation.dcm", "./a/statistics.json"),
        *("./b/preview.png", "./b/mask.png"),
    ]
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    previews = page.each("img")
    assert {(image["loading"], image["width"], image["height"]) for image in previews} == {("lazy", "192", "108")}
    assert [image["alt"] for image in previews] == ["Preview of a", "Preview of b"]
    write_index(tmp_path, [done("far")], files_of={"far": {"preview.png"}}.get)
    assert [link["href"] for link in Page(tmp_path).each("a")] == ["./far/preview.png"]


def test_a_case_with_a_page_of_its_own_is_opened_by_its_picture(tmp_path: Path) -> None:
    case_in(tmp_path, "a", "report.html", "uncertainty.nii.gz")
    write_index(tmp_path, [done("a")])
    links = [link["href"] for link in Page(tmp_path).each("a")]
    assert links == ["./a/report.html", "./a/report.html", "./a/uncertainty.nii.gz"]
    assert Page(tmp_path).each("img")[0]["src"] == "./a/preview.png"


def test_a_plot_that_evaluate_left_beside_the_page_is_linked(tmp_path: Path) -> None:
    write_index(tmp_path, [done("a")])
    assert "bland_altman" not in (tmp_path / "index.html").read_text()
    (tmp_path / "bland_altman.png").touch()
    write_index(tmp_path, [done("a")])
    assert [link["href"] for link in Page(tmp_path).each("a")] == ["./bland_altman.png"]


def test_without_scripts_there_is_nothing_to_press_that_does_nothing(tmp_path: Path) -> None:
    write_index(tmp_path, [done("a")])
    page = Page(tmp_path)
    assert not page.each("button")
    assert next(box for box in page.each("div") if box["id"] == "tools").keys() >= {"hidden"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", None, True])
def test_what_is_no_number_is_an_empty_cell(tmp_path: Path, value: object) -> None:
    row = {**done("a"), "labels": {"lung": {"volume_ml": value}}, "seconds": {"read": value}}
    write_index(tmp_path, [row, done("b")])
    assert ["", "a", "done", "", "", ""] in Page(tmp_path).rows


def test_no_name_or_reason_becomes_markup(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for name in HOSTILE:
        if "/" not in name:
            case_in(tmp_path, name, "mask.nii.gz")
        rows += [
            done(name, warnings=(name,), flags=(f"x{name}",)),
            {"status": "failed", "case": f"x{name}", "reason": name},
        ]
    write_index(tmp_path, rows)
    page = Page(tmp_path)
    assert {row[1] for row in page.rows[1:]} >= set(HOSTILE[1:])
    assert len(page.each("script")) == 1
    assert all(re.fullmatch(r"\./[^/:?#]+/[a-z.]+", link["href"] or "") for link in page.each("a"))
    assert all((tmp_path / unquote(link["href"] or "")).is_file() for link in page.each("a"))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    case_in(tmp_path, "a")
    write_index(tmp_path, [done("a")])
    text = (tmp_path / "index.html").read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text
    assert "url(" not in STYLE


def test_the_text_can_be_read_on_every_background() -> None:
    """WCAG 2.2, 1.4.3 asks 4.5 to 1 of text, 1.4.11 3 to 1 of a field's border; on the screen and on paper."""
    screen, paper = STYLE.split("@media print")
    for style in (screen, paper):
        colours = dict(re.findall(r"--(\w+): #([0-9a-f]{6});", style))
        grounds = [colours.pop(name) for name in ("page", "head")]
        edge, _ = colours.pop("edge"), colours.pop("rule")
        assert set(colours) == {"text", "quiet", "link", "flagged", "failed", "refused", "done"}
        assert min(contrast(ink, ground) for ink in colours.values() for ground in grounds) >= 4.5
        assert contrast(edge, grounds[0]) >= 3
    assert "color-scheme: dark" in screen


def test_the_page_of_five_thousand_cases_is_small(tmp_path: Path) -> None:
    files = [
        *("preview.png", "mask.nii.gz", "segmentation.dcm", "rtstruct.dcm", "report.dcm", "statistics.json"),
        *("report.html", "uncertainty.nii.gz"),
    ]
    rows = [done(f"{number:012x}", warnings=("a single slice: 1 mm assumed",)) for number in range(5000)]
    write_index(tmp_path, rows, files_of=lambda case: files)
    assert (tmp_path / "index.html").stat().st_size < 5e6


def test_twice_the_cases_take_twice_the_work(tmp_path: Path) -> None:
    asked: list[str] = []

    def files_of(case: str) -> list[str]:
        asked.append(case)
        return ["preview.png"]

    def calls(cases: int) -> int:
        counted = 0

        def count(*_: object) -> None:
            nonlocal counted
            counted += 1

        rows = [done(f"{number:06}", flags=("dark",) * (number % 2)) for number in range(cases)]
        sys.setprofile(count)
        try:
            write_index(tmp_path, rows, files_of)
        finally:
            sys.setprofile(None)
        return counted

    write_index(tmp_path, [done("a")], files_of)  # what the first page alone costs
    asked.clear()
    assert calls(2000) < 2.1 * calls(1000)
    assert len(asked) == 3000


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_index(tmp_path, [done("a")])
    before = (tmp_path / "index.html").read_bytes()

    def fail(case: str) -> list[str]:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        write_index(tmp_path, [done("b")], files_of=fail)
    assert (tmp_path / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch with its page: four cases, one of them flagged, and one that failed."""
    folder = tmp_path_factory.mktemp("batch")
    rows = [done(f"c{number}", volume=volume) for number, volume in enumerate((900.0, 8.5, 1000.0, 70.0))]
    rows[3] |= {"flags": ["no lungs were found"]}
    for number in range(4):
        case_in(folder, f"c{number}", "mask.nii.gz", "report.html")
    write_index(folder, [*rows, {"status": "failed", "case": "none", "reason": "damaged"}])
    return folder


@pytest.fixture(scope="module")
def shown(batch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as chromium:
        page = chromium.page(1200, 900)
        page.open((batch / "index.html").as_uri())
        yield page


def cases(page: browser.Page) -> list[str]:
    """The cases that are seen, from top to bottom."""
    seen = "[...document.querySelectorAll('tbody tr')].filter((row) => row.checkVisibility())"
    found: list[str] = page.run(f"{seen}.map((row) => row.querySelector('th').firstChild.data)")
    return found


def sorts(page: browser.Page) -> dict[str, str]:
    """The headings that say they are sorted by, and how."""
    heads = "[...document.querySelectorAll('[aria-sort]')].map((head) => [head.innerText, head.ariaSort])"
    return dict(page.run(heads))


def test_a_browser_paints_the_page_with_its_previews(shown: browser.Page) -> None:
    shown.wait_for("[...document.images].every((one) => one.complete)")
    seen = shown.picture().reshape(-1, 3)
    assert np.mean((seen == [18, 20, 22]).all(axis=1)) > 0.5
    red = int((seen == [255, 0, 0]).all(axis=1).sum())
    assert red == pytest.approx(4 * 192 * 96, rel=0.02)  # four previews of 40 × 20 fill the width


def test_a_heading_that_is_clicked_sorts_up_then_down_then_as_before(shown: browser.Page) -> None:
    before = ["c3", "none", "c0", "c1", "c2"]
    assert (cases(shown), sorts(shown)) == (before, {})
    volume = "thead th:nth-child(4) button"
    shown.click(volume)
    assert cases(shown) == ["c1", "c3", "c0", "c2", "none"]
    assert sorts(shown) == {"left <lung>, ml": "ascending"}
    shown.click(volume)
    assert cases(shown) == ["c2", "c0", "c3", "c1", "none"]
    assert sorts(shown) == {"left <lung>, ml": "descending"}
    shown.click(volume)
    assert (cases(shown), sorts(shown)) == (before, {})


def test_the_keyboard_alone_sorts_and_filters(shown: browser.Page) -> None:
    shown.run("document.querySelector('#filter').focus()")
    shown.press("Tab", " ")  # to the first heading
    assert cases(shown) == ["c0", "c1", "c2", "c3", "none"]
    assert sorts(shown) == {"Case": "ascending"}
    shown.press(" ", " ")
    shown.run("document.querySelector('#filter').focus()")
    shown.press(*"Flagged")
    assert cases(shown) == ["c3"]
    assert shown.text("output") == "1 of 5 shown"
    shown.press(" ", *"c0")
    assert (cases(shown), shown.text("output")) == ([], "0 of 5 shown")
    shown.run("document.querySelector('#filter').select()")
    shown.press("c", "1")
    assert cases(shown) == ["c1"]
    shown.click("thead th:nth-child(2) button")
    assert cases(shown) == ["c1"]  # sorting keeps what is filtered
    assert shown.run("document.querySelector('#filter').labels[0].innerText") == "Filter"


def test_the_page_asks_for_its_previews_alone_and_nothing_complains(shown: browser.Page, batch: Path) -> None:
    previews = {(batch / f"c{number}" / "preview.png").as_uri() for number in range(4)}
    assert set(shown.requests) == {(batch / "index.html").as_uri(), *previews}
    assert shown.complaints == []
