"""The page of a batch: complete, safe against any name, readable, and the same without a network."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
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


def done(case: str, volume: float = 1.0, warnings: tuple[str, ...] = (), seconds: float = 1.0) -> dict[str, Any]:
    labels = {"left <lung>": {"volume_ml": volume}}
    return {"status": "done", "case": case, "labels": labels, "warnings": warnings, "seconds": {"read": seconds}}


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


def test_failed_come_first_then_refused_then_doubtful_then_the_rest(tmp_path: Path) -> None:
    rows = [
        done("a"),
        done("b", warnings=("cut off", "noisy")),
        {"status": "refused", "input": "0123", "reason": "Modality MR, expected CT"},
        {"status": "failed", "case": "z", "reason": "damaged"},
        {"status": "failed", "case": "c", "reason": "the disk was full"},
        done("c", volume=1234.6, seconds=61.26),
    ]
    write_index(tmp_path, rows)
    page = Page(tmp_path)
    assert page.rows == [
        ["Preview", "Case", "Status", "left <lung>, ml", "Warnings", "Seconds"],
        ["", "z", "faileddamaged", "", "", ""],
        ["", "0123", "refusedModality MR, expected CT", "", "", ""],
        ["", "b", "done", "1", "cut offnoisy", "1.0"],
        ["", "a", "done", "1", "", "1.0"],
        ["", "c", "done", "1235", "", "61.3"],
    ]
    text = (tmp_path / "index.html").read_text()
    assert "3 done (1 with warnings), 1 failed, 1 refused" in text
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


def test_no_name_or_reason_becomes_markup(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for name in HOSTILE:
        if "/" not in name:
            case_in(tmp_path, name, "mask.nii.gz")
        rows += [done(name, warnings=(name,)), {"status": "failed", "case": f"x{name}", "reason": name}]
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
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1."""
    colours = dict(re.findall(r"--(\w+): #([0-9a-f]{6})", STYLE))
    grounds = {name: colours.pop(name) for name in ("page", "line", "head")}
    assert set(colours) == {"text", "quiet", "link", "failed", "refused", "done"}
    contrasts = {(ink, ground): _contrast(colours[ink], grounds[ground]) for ink in colours for ground in grounds}
    assert min(contrasts.values()) >= 4.5


def test_the_page_of_five_thousand_cases_is_small(tmp_path: Path) -> None:
    files = ["preview.png", "mask.nii.gz", "segmentation.dcm", "rtstruct.dcm", "report.dcm", "statistics.json"]
    rows = [done(f"{number:012x}", warnings=("a single slice: 1 mm assumed",)) for number in range(5000)]
    write_index(tmp_path, rows, files_of=lambda case: files)
    assert (tmp_path / "index.html").stat().st_size < 5e6


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_index(tmp_path, [done("a")])
    before = (tmp_path / "index.html").read_bytes()

    def fail(case: str) -> list[str]:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        write_index(tmp_path, [done("b")], files_of=fail)
    assert (tmp_path / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_browser_sorts_by_the_heading_that_is_chosen(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    rows = [done(f"c{number}", volume=volume) for number, volume in enumerate((900.0, 8.5, 1000.0, 70.0))]
    write_index(tmp_path, [*rows, {"status": "failed", "case": "none", "reason": "damaged"}])
    # clicked by a script of its own, which the page's policy wouldn't run
    text = (tmp_path / "index.html").read_text()
    clicks = "<script>const all=document.querySelectorAll('button');all[2].click();CLICK</script>"
    shown = {}
    for turn, click in (("up", ""), ("down", "all[2].click()")):
        open_page = re.sub(r"<meta http-equiv.*?>", "", text, flags=re.DOTALL)
        (tmp_path / f"{turn}.html").write_text(open_page.replace("</body>", clicks.replace("CLICK", click) + "</body>"))
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        dumped = subprocess.run(
            [browser, *options, "--dump-dom", (tmp_path / f"{turn}.html").as_uri()],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        shown[turn] = (
            re.findall(r'<th scope="row">(\w+)', dumped.stdout),
            re.findall('aria-sort="(.*?)"', dumped.stdout),
        )
    assert shown["up"] == (["c1", "c3", "c0", "c2", "none"], ["ascending"])
    assert shown["down"] == (["c2", "c0", "c3", "c1", "none"], ["descending"])


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
