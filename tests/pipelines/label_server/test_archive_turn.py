"""A whole turn of annotation on an archive: next, infer, submit, DICOM SEG out, train, serve the new version, score."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("monailabel")

from annotation_server import annotation_server
from dicom_factory import write_radiograph
from label_app import SAMPLES, pixels, truth
from label_process import LabelProcess
from orthanc import Orthanc
from PIL import Image
from waiting import wait_for

from radseg.pipelines.segment import segment

pytestmark = pytest.mark.long

NAMES = ("chest01_ap", "chest02_ap", "chest03_ap", "chest04_ap")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Sample radiographs as DICOM by SeriesInstanceUID, each of another patient; a file is called as the sample."""
    written = [tmp_path / "dicom" / f"{name}.dcm" for name in NAMES]
    for number, file in enumerate(written):
        with Image.open(SAMPLES / "imagesTr" / f"{file.stem}.png") as image:
            stored = np.asarray(image.convert("L"))
        study, series = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
        write_radiograph(file, stored, PatientID=f"P{number}", StudyInstanceUID=study, SeriesInstanceUID=series)
    return {str(pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID): file for file in written}


@pytest.fixture
def orthanc(tmp_path: Path, files: dict[str, Path]) -> Iterator[Orthanc]:
    """An archive with those radiographs."""
    started = Orthanc(tmp_path / "orthanc").start()
    try:
        started.put(*files.values())
        yield started
    finally:
        started.stop()


@pytest.fixture
def server(tmp_path: Path, orthanc: Orthanc) -> Iterator[LabelProcess]:
    with annotation_server(tmp_path, f"{orthanc.http}/dicom-web", "lung_xray") as started:
        yield started


def test_labels_in_an_archive_train_a_version_that_serves(
    server: LabelProcess, orthanc: Orthanc, files: dict[str, Path], tmp_path: Path
) -> None:
    listed = server.ask("GET", "/datastore/", params={"output": "all"}).json()["objects"]
    assert set(listed) == set(files)
    first = server.ask("POST", "/activelearning/uncertainty", json={}).json()["id"]

    before = _infer(server, first, tmp_path)
    segment("lung_xray", files[first], tmp_path / "segmented", device="cpu", progress=False)
    (own,) = (tmp_path / "segmented").glob("*/mask.*")
    np.testing.assert_array_equal(before, pixels(own))

    for series, file in files.items():
        label = {"label": ("label.png", truth(file.stem).read_bytes())}
        answer = server.ask("PUT", "/datastore/label", params={"image": series, "tag": "final"}, files=label)
        assert answer.status_code == 200, answer.text
    found = orthanc.ask("/tools/find", json.dumps({"Level": "Instance", "Query": {"Modality": "SEG"}}).encode())
    assert len(found) == len(files)

    started = server.ask("POST", "/train/lung_xray", json={"max_epochs": 1, "val_split": 0.25})
    assert started.status_code == 200, started.text
    _wait_for_the_end_of(server, "/train/")
    assert server.ask("GET", "/info/").json()["models"]["lung_xray"]["version"] == 2
    assert (_infer(server, first, tmp_path) != before).any()

    answer = server.ask("POST", "/scoring/dice", json={"model": "lung_xray"})
    assert answer.status_code == 200, answer.text
    _wait_for_the_end_of(server, "/scoring/")
    for series in files:
        told = server.ask("GET", "/datastore/label/info", params={"label": series, "tag": "final"}).json()
        assert told["dice"]["against"] == "lung_xray version 2"
        assert 0 < told["dice"]["1"] <= 1


def _wait_for_the_end_of(server: LabelProcess, task: str) -> None:
    wait_for(lambda: server.ask("GET", task).json()["status"] not in ("SUBMITTED", "RUNNING"), 300)
    ended = server.ask("GET", task).json()
    assert ended["status"] == "DONE", ended


def _infer(server: LabelProcess, series: str, folder: Path) -> np.ndarray:
    form = {"params": (None, json.dumps({"result_extension": ".png"}))}
    answer = server.ask("POST", "/infer/lung_xray", params={"image": series, "output": "image"}, files=form)
    assert answer.status_code == 200, answer.text
    (folder / "mask.png").write_bytes(answer.content)
    return pixels(folder / "mask.png")
