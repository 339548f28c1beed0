"""The page of a case: complete, safe against any name, readable, of no patient, and the same without a network."""

import hashlib
import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import finding_factory
import numpy as np
import page_factory as factory
import pytest
from contrast import contrast

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.report.case_page import CasePage, page
from radseg.pipelines.report.case_page.content import measurements_table, regions_table

HERE = Path(page.__file__).parent
STYLE = (HERE / "style.css").read_text()
VENDOR = HERE.parent / "vendor" / "niivue"
LABELS = ["left ball", "right ball"]
HOSTILE = [
    "</script><script>document.title='taken'</script>",
    '"><img src=x onerror=alert(1)>',
    "<!-- <script>",
    "$data $style &amp; ${case}",
    "Мозг 脊椎 \u2028",
]


class Found(HTMLParser):
    """What a browser finds in the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.scripts[-1][1] == "":
            self.scripts[-1] = (self.scripts[-1][0], data)
        else:
            self.text += data


def test_the_page_says_what_was_found_and_how(tmp_path: Path) -> None:
    volume, mask = factory.balls()
    statistics = {"warnings": ["cut off at the top"], "flags": ["this doesn't look like a chest"]}
    found = Found(factory.write_page(tmp_path, volume, mask, LABELS, statistics=statistics).read_text())
    for said in (
        *("left ball", "right ball", "cut off at the top", "this doesn't look like a chest", "spine 0.1.0", "ab" * 32),
        *("cpu", "torch, exact", "tta = flips", "read 0.2, network 2.0", "Not a medical device"),
    ):
        assert said in found.text
    millilitres = float(np.count_nonzero(mask == 1) * np.prod(factory.SPACING_MM) / 1000)
    assert f"{millilitres:.4g} ml" in found.text
    assert ("img", "data:image/png;base64,") in [(tag, (one.get("src") or "")[:22]) for tag, one in found.tags]


def test_measurements_have_unit_spread_and_reason() -> None:
    rows = [
        {
            "name": "height",
            "of": "vertebra 3",
            "value": 23.456,
            "unit": "mm",
            "uncertainty": 1.28,
            "method": "own axis",
        },
        {"name": "height", "of": "vertebra 1", "value": None, "unit": "mm", "warning": "cut off by the field of view"},
        {"name": "core", "of": "vertebra 3", "value": 151.0, "unit": "[hnsf'U]"},
        {"name": "type", "of": "vertebra 3", "value": "wedge", "unit": "1"},
        {"name": "lungs", "value": 12345.6, "unit": "cm2"},
    ]
    table = measurements_table({"measurements": rows, "labels": {"vertebra": {"volume_ml": 1.0}}})
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", table)]
    assert cells[:5] == ["Region", "Measurement", "Value", "Method", "Warning"]
    assert cells[5:10] == ["vertebra 3", "height", "23.5 ± 1.3 mm", "own axis", ""]
    assert cells[10:15] == ["vertebra 1", "height", "not measured", "", "cut off by the field of view"]
    assert [cells[at] for at in (17, 22, 27)] == ["151 HU", "wedge", "12346 cm²"]
    assert cells[25] == "all"
    assert measurements_table({}) == "<p>Nothing was measured.</p>"


def warnings_on(page: Path) -> str:
    """What stands below the heading Warnings."""
    part = re.search(r"<h2>Warnings</h2>\n(.*?)</section>", page.read_text(), re.DOTALL)
    assert part is not None
    return part[1].strip()


def test_the_list_of_warnings_holds_those_of_single_measurements_and_regions_too(tmp_path: Path) -> None:
    volume, mask = factory.balls()
    ratio = {"name": "cardiothoracic ratio", "value": None, "unit": "1", "warning": "0.25 is too small for a heart"}
    regions = [
        {"label": "lung", "voxels": 900, "mean_entropy": 0.1, "centre_ras_mm": [0.0, 0.0, 0.0], "doubtful": doubtful}
        for doubtful in (False, True)
    ]
    statistics = {"warnings": ["cut off at the top"], "measurements": [ratio], "regions": regions}
    said = warnings_on(factory.write_page(tmp_path, volume, mask, LABELS, statistics=statistics))
    assert "<li>cut off at the top</li>" in said
    assert "<li>cardiothoracic ratio: 0.25 is too small for a heart</li>" in said
    assert "<li>1 of 2 regions is doubtful, see how sure each is</li>" in said
    assert "None." not in said


def test_a_warning_of_the_case_is_not_said_again_for_its_measurements(tmp_path: Path) -> None:
    volume, mask = factory.balls()
    rows = [{"name": "height", "of": "vertebra 1", "value": None, "unit": "mm", "warning": "the edge cuts it off"}]
    statistics = {"warnings": ["vertebra 1 isn't measured: the edge cuts it off"], "measurements": rows}
    said = warnings_on(factory.write_page(tmp_path, volume, mask, LABELS, statistics=statistics))
    assert said.count("the edge cuts it off") == 1


def test_a_page_that_warns_of_nothing_says_none(tmp_path: Path) -> None:
    volume, mask = factory.balls()
    statistics = {"measurements": [{"name": "left over right", "value": 0.9, "unit": "1"}], "warnings": []}
    page_file = factory.write_page(tmp_path, volume, mask, LABELS, statistics=statistics)
    assert warnings_on(page_file) == "<p>None.</p>"


def cells_of(table: str) -> list[str]:
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh] .*?</t[dh]>|<td>.*?</td>", table)]


def test_regions_of_one_answer_say_their_size_entropy_and_place() -> None:
    regions = [
        {"label": "lesion", "voxels": 900, "volume_ml": 12.345, "centre_ras_mm": [-40.2, 12.7, -101.0],
         "mean_entropy": 0.123, "doubtful": False},
        {"label": "lesion", "voxels": 9, "volume_ml": 0.1, "centre_ras_mm": [3.0, -5.0, 0.0], "mean_entropy": 0.777,
         "doubtful": True},
    ]  # fmt: skip
    table = regions_table({"regions": regions, "regions_left_out": 4})
    assert cells_of(table)[:5] == ["Region", "Size", "Mean entropy", "Centre", "Warning"]
    assert cells_of(table)[5:10] == ["lesion, region 1", "12.35 ml", "0.12", "L 40, A 13, I 101 mm", ""]
    assert cells_of(table)[10:] == ["lesion, region 2", "0.1 ml", "0.78", "R 3, P 5, S 0 mm", "doubtful"]
    assert "4 smaller regions" in table
    assert "--tta flips" in table


def test_regions_of_several_answers_say_where_those_differ() -> None:
    row = {"label": "lung", "voxels": 50, "area_mm2": 31.5, "centre_pixel": [9.0, 19.0], "mean_probability": 0.931,
           "mean_entropy": 0.2, "disagreement": {"voxels": 5, "area_mm2": 3.2}}  # fmt: skip
    beside = {"disagreement": {"voxels": 7, "area_mm2": 4.4}, "disagreement_elsewhere": {"voxels": 2, "area_mm2": 1.2}}
    table = regions_table({"regions": [row], "regions_left_out": 0, **beside})
    assert cells_of(table)[6:] == ["lung, region 1", "31.5 mm²", "0.93", "0.20", "3.2 mm²", "column 10, row 20"]
    assert "differ in 4.4 mm² in all, 1.2 mm² of it where no region is near" in table
    assert "--tta" not in table
    dots = regions_table({"regions": [{"label": "a", "voxels": 1, "centre_pixel": [0.0, 0.0]}]})
    assert cells_of(dots)[4] == "1 pixel"


def test_without_regions_that_is_said() -> None:
    assert "Nothing was labelled" in regions_table({"regions": []})
    assert "Not known" in regions_table({})


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_markup(tmp_path: Path, name: str) -> None:
    volume, mask = factory.balls()
    case = Case(name, InputKind.NIFTI, (tmp_path / "x.nii.gz",), tmp_path / "x.nii.gz")
    row = {"name": name, "of": name, "value": name, "unit": name, "method": name, "warning": name}
    region = {"label": name, "voxels": 3, "centre_ras_mm": [1.0, 2.0, 3.0], "mean_entropy": 0.5}
    statistics = {"warnings": [name], "flags": [name], "measurements": [row], "overrides": {name: name}}
    statistics["regions"] = [region]
    plain = Found(factory.write_page(tmp_path, volume, mask, LABELS).read_text())
    file = factory.write_page(tmp_path, volume, mask, [name, "b"], case=case, statistics=statistics)
    found = Found(file.read_text())
    assert len(found.scripts) == len(plain.scripts)
    assert [tag for tag, _ in found.tags if tag in ("img", "script", "svg")] == [
        tag for tag, _ in plain.tags if tag in ("img", "script", "svg")
    ]
    assert not [key for _, attributes in found.tags for key in attributes if key.startswith("on")]
    assert found.text.count(name) >= 10
    (said,) = (text for attributes, text in found.scripts if attributes.get("id") == "said")
    assert "<" not in said
    assert json.loads(said)["labels"][0]["name"] == name


def test_nothing_can_be_loaded_and_only_its_own_scripts_run(tmp_path: Path) -> None:
    volume, mask = factory.balls()
    found = Found(factory.write_page(tmp_path, volume, mask, LABELS).read_text())
    (policy,) = (one["content"] or "" for tag, one in found.tags if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert "http" not in policy
    run = [text for attributes, text in found.scripts if "type" not in attributes]
    assert len(re.findall("'sha256-", policy)) == len(run) + 1  # the style's
    assert not [one for tag, one in found.tags for key in ("href", "src") if (one.get(key) or "data:")[:5] != "data:"]
    assert not [one for _, one in found.tags if "style" in one]
    own = "".join(file.read_text() for file in HERE.iterdir() if file.suffix in (".js", ".css", ".html"))
    assert not re.search(r"https?:|fetch\(|XMLHttp|WebSocket|eval\(|innerHTML|url\(", own)


def test_the_code_that_is_handed_on_in_the_page_has_its_licences_there(tmp_path: Path) -> None:
    volume, mask = factory.balls()
    found = Found(factory.write_page(tmp_path, volume, mask, LABELS).read_text())
    assert "Copyright (c) 2021, Niivue" in found.text
    for name in ("LICENSE", "THIRD_PARTY_LICENSES"):
        assert (VENDOR / name).read_text() in found.text


def test_a_picture_needs_no_niivue(tmp_path: Path) -> None:
    volume, mask = factory.radiograph()
    file = factory.write_page(tmp_path, volume, mask, ["lung"])
    assert file.stat().st_size < 200_000
    found = Found(file.read_text())
    assert "Niivue" not in "".join(text for _, text in found.scripts)
    assert "NiiVue" not in found.text


def test_niivue_is_as_it_was_published() -> None:
    told = re.findall(r"`([0-9a-f]{64})`", (VENDOR / "README.md").read_text())
    assert hashlib.sha256((VENDOR / "niivue.umd.js").read_bytes()).hexdigest() == told[1]
    assert "BSD 2-Clause License" in (VENDOR / "LICENSE").read_text()
    script = (VENDOR / "niivue.umd.js").read_text()
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "\r" not in script


def test_all_that_the_page_is_made_of_is_installed() -> None:
    with (HERE.parents[2] / "pyproject.toml").open("rb") as stream:
        data = tomllib.load(stream)["tool"]["setuptools"]["package-data"]
    installed = {file for pattern in data["radseg.pipelines.report.case_page"] for file in HERE.glob(pattern)}
    assert installed == {file for file in HERE.iterdir() if file.is_file() and file.suffix != ".py"}
    assert set(HERE.parent.glob(data["radseg.pipelines.report"][0])) == set(VENDOR.iterdir())


def test_the_text_can_be_read_on_every_background() -> None:
    """WCAG 2.2: 1.4.3, a contrast of 4.5 to 1 for text; 1.4.11, one of 3 to 1 for the edges of controls."""
    colours = dict(re.findall(r"--(\w+): #([0-9a-f]{6})", STYLE))
    grounds = {name: colours.pop(name) for name in ("page", "panel", "control")}
    edge = colours.pop("border")
    assert set(colours) == {"text", "quiet", "link", "warning", "flag"}
    assert min(contrast(ink, ground) for ink in colours.values() for ground in grounds.values()) >= 4.5
    assert min(contrast(edge, ground) for ground in grounds.values()) >= 3
    assert contrast(grounds["page"], colours["link"]) >= 4.5  # a pressed button
    assert set(re.findall(r"color: (?!var)([^;]*)", STYLE.replace("background-color", ""))) <= {"dark; --page: #121416"}


def test_the_patient_is_named_only_when_asked_for(tmp_path: Path) -> None:
    case = finding_factory.only_case(finding_factory.series(tmp_path / "series", (40, 50, 30)))
    volume, mask = factory.balls()
    secrets = ("Tell Tale", "Tell^Tale", "ID-4711", "2024-03-05", "20240305", "ACC-99", str(tmp_path))
    hidden = factory.write_page(tmp_path, volume, mask, LABELS, case=case).read_text()
    assert not [secret for secret in secrets if secret in hidden]
    named = factory.write_page(tmp_path, volume, mask, LABELS, case=case, with_identity=True).read_text()
    assert [secret for secret in secrets if secret in named] == ["Tell Tale", "ID-4711", "2024-03-05"]


def test_a_hostile_patient_name_is_text(tmp_path: Path) -> None:
    header = {**finding_factory.HEADER, "PatientName": "<b>X</b>^</script>", "PatientID": "12345678"}
    case = finding_factory.only_case(finding_factory.series(tmp_path / "series", (40, 50, 30), header))
    volume, mask = factory.balls()
    file = factory.write_page(tmp_path, volume, mask, LABELS, case=case, with_identity=True)
    assert "<b>X</b> </script>" in Found(file.read_text()).text
    assert "12345678" in Found(file.read_text()).text


def test_without_a_wish_there_is_no_page(tmp_path: Path) -> None:
    unwanted = CasePage()
    assert unwanted.files() == set()
    assert unwanted.recorded() == {}
    with pytest.raises(ConfigError, match="ask for the page too"):
        CasePage(wanted=False, with_identity=True)
