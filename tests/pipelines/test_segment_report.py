"""`segment --report` leaves a page to look at in each case's folder, and nobody's name unless that is asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.segment import Batch, segment

SAMPLES = Path(__file__).parents[2] / "sample_data"
CHEST = SAMPLES / "lung_xray" / "imagesTr" / "chest06_pa.png"
CT = SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz"
DICOM = SAMPLES / "lung_xray" / "dicom"


@pytest.fixture
def run(small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path) -> Callable[..., Batch]:
    """Segments chest radiographs into OUT with the small network."""

    def run(source: Path, **options: Any) -> Batch:
        settings = {"weights": str(small_weights["lung_xray"]), "progress": False, **small["lung_xray"], **options}
        return segment("lung_xray", source, tmp_path / "OUT", **settings)

    return run


def test_the_command_writes_a_page_that_says_how_the_mask_was_made(
    radseg: Callable[..., Any],
    small_weights: dict[str, Path],
    small_options: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    options = ["--weights", small_weights["lung_xray"], *small_options("lung_xray")]
    ended = radseg("segment", "lung_xray", CHEST, "-o", tmp_path / "OUT", "--report", *options)
    assert ended.code == 0
    assert "report.html" in ended.out
    folder = tmp_path / "OUT" / CHEST.stem
    assert {file.name for file in folder.iterdir()} == {"mask.png", "preview.png", "report.html", "statistics.json"}
    page = (folder / "report.html").read_text()
    statistics = json.loads((folder / "statistics.json").read_text())
    assert statistics["weights_sha256"] in page
    assert "lung_xray 0." in page
    assert "<dt>Device</dt><dd>cpu</dd>" in page
    assert str(CHEST.parent) not in page


def test_a_case_is_whole_without_a_page_until_one_is_wanted(run: Callable[..., Batch]) -> None:
    first = run(CHEST)
    assert not (first.output_dir / CHEST.stem / "report.html").exists()
    assert run(CHEST, report=True).done == [CHEST.stem]
    assert (first.output_dir / CHEST.stem / "report.html").exists()
    assert run(CHEST, report=True).skipped == [CHEST.stem]
    assert run(CHEST).skipped == [CHEST.stem]


def test_names_stand_on_the_page_when_they_are_wanted_and_go_when_they_are_not(run: Callable[..., Batch]) -> None:
    header = pydicom.dcmread(next(DICOM.iterdir()), stop_before_pixels=True)
    batch = run(DICOM, report=True)
    (page,) = batch.output_dir.glob("*/report.html")
    assert str(header.PatientID) not in page.read_text()
    assert run(DICOM, report=True, with_identity=True).done == batch.done
    assert str(header.PatientID) in page.read_text()
    assert run(DICOM, report=True).done == batch.done
    assert str(header.PatientID) not in page.read_text()


def test_names_are_refused_where_they_make_no_sense(run: Callable[..., Batch], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ask for the page too"):
        run(DICOM, with_identity=True)
    with pytest.raises(ConfigError, match="contradict each other"):
        run(DICOM, report=True, with_identity=True, deidentify=True)


@pytest.mark.parametrize("tta", [None, "flips"])
def test_each_region_of_a_ct_says_how_sure_it_is(
    tta: str | None, small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"weights": str(small_weights["lung_ct"]), "progress": False, "tta": tta, **small["lung_ct"]}
    assert segment("lung_ct", CT, tmp_path / "OUT", report=True, **settings).ok
    (folder,) = (path for path in (tmp_path / "OUT").iterdir() if path.is_dir())
    regions = json.loads((folder / "statistics.json").read_text())["regions"]
    assert regions
    known = {"mean_probability", "mean_entropy", "disagreement"} if tta else {"mean_entropy"}
    assert all(known == known & row.keys() for row in regions)
    assert all(("mean_probability" in row) == bool(tta) for row in regions)
    page = (folder / "report.html").read_text()
    assert 'id="uncertainty"' in page
    assert ("Of 2 answers: entropy" if tta else "Of a single answer: its entropy inside the labels") in page
    assert ("Answers differ in" in page) == bool(tta)
