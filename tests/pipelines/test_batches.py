"""What a batch of DICOM series tells and records, over several runs."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom_factory
import numpy as np
import pydicom
import pytest

from radseg.pipelines.manifest import Manifest
from radseg.pipelines.segment import Batch, segment

UID = "1.2.826.0.1.3680043.8.498.7.1"


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, (16, 16, 4)).astype(np.int16)


@pytest.fixture
def run(small: dict[str, Any], small_weights: dict[str, Path], tmp_path: Path) -> Callable[..., Batch]:
    """Segments `in` into `out`."""

    def run(**options: Any) -> Batch:
        settings = {"weights": small_weights["lung_ct"], "progress": False, **small["lung_ct"], **options}
        return segment("lung_ct", tmp_path / "in", tmp_path / "out", **settings)

    return run


def _summary(out: Path) -> list[tuple[str, str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return [(row["case"], row["status"], row["reason"]) for row in csv.DictReader(file)]


def test_two_stacks_of_one_series_are_two_deidentified_cases(
    hu: np.ndarray, run: Callable[..., Batch], tmp_path: Path
) -> None:
    def other(number: int, dataset: Any) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID}.2.{number}"

    dicom_factory.write_series(tmp_path / "in", hu, uid=UID)
    dicom_factory.write_series(
        tmp_path / "in", hu, uid=UID, orientation=(0, 1, 0, 0, 0, -1), names="S{:04d}.dcm".format, change=other
    )
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    plain, hidden = run(), run(deidentify=key, overwrite=True)
    assert len(set(plain.done)) == len(set(hidden.done)) == 2
    assert not set(plain.done) & set(hidden.done)
    assert all((tmp_path / "out" / case / "mask.nii.gz").is_file() for case in hidden.done)


def test_a_refused_series_that_was_mended_is_no_longer_told_as_refused(
    hu: np.ndarray, run: Callable[..., Batch], tmp_path: Path
) -> None:
    folder = dicom_factory.write_series(tmp_path / "in", hu, uid=UID)
    file = folder / "IM0001.dcm"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    run()
    [(_, status, reason)] = _summary(tmp_path / "out")
    assert status == "refused"
    assert "cut off" in reason
    file.write_bytes(whole)
    batch = run()
    assert _summary(tmp_path / "out") == [(batch.done[0], "done", "")]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_reason_is_shown_with_its_path_and_recorded_without_folders(
    zipped: bool, hu: np.ndarray, run: Callable[..., Batch], tmp_path: Path
) -> None:
    folder = dicom_factory.write_series(tmp_path / "in" / "DOE_JANE", hu, uid=UID)
    file = folder / "IM0001.dcm"
    dataset = pydicom.dcmread(file)
    dataset.RescaleSlope = 0
    dataset.save_as(file)
    if zipped:
        shutil.make_archive(str(tmp_path / "in" / "DOE"), "zip", tmp_path / "in", "DOE_JANE")
        shutil.rmtree(folder)
        file = tmp_path / "in" / "DOE.zip" / "DOE_JANE" / "IM0001.dcm"
    [(case, shown)] = run().failed.items()
    assert shown.startswith(f"{file}: RescaleSlope is 0")
    assert "DOE" not in (tmp_path / "out" / "manifest.jsonl").read_text()
    [(named, status, recorded)] = _summary(tmp_path / "out")
    assert (named, status) == (case, "failed")
    assert recorded.startswith("IM0001.dcm: RescaleSlope is 0")


def test_a_run_that_wants_less_leaves_the_files_of_an_earlier_one(
    hu: np.ndarray, run: Callable[..., Batch], tmp_path: Path
) -> None:
    dicom_factory.write_series(tmp_path / "in", hu, uid=UID)
    [case] = run(output_type="dicom_seg", seg_type="labelmap").done
    assert run().skipped == [case]
    assert (tmp_path / "out" / case / "segmentation.dcm").is_file()
    assert run(output_type="dicom_seg", seg_type="binary").done == [case]


def test_a_result_and_a_manifest_of_an_earlier_version_are_gone_on_with(
    hu: np.ndarray, run: Callable[..., Batch], tmp_path: Path
) -> None:
    dicom_factory.write_series(tmp_path / "in", hu, uid=UID)
    [case] = run().done
    manifest = Manifest(tmp_path / "out" / "manifest.jsonl")
    rows = manifest.read()
    manifest.file.unlink()
    for row in ({"status": "refused"}, {"status": "done"}, *rows):
        manifest.append({key: value for key, value in row.items() if key not in ("engine", "seg_type")})
    assert run().skipped == [case]
    assert run(output_type="dicom_seg").done == [case]
