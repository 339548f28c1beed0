"""An archive's study goes through the command line and its segmentation is in the archive, once, whatever happened."""

import csv
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dcmtk import dcmtk
from set_clock import ClockOfEachThread

from radseg.pipelines.io.pacs import dicomweb_images
from radseg.pipelines.io.pacs.dicomweb import DicomwebServer
from radseg.pipelines.io.pacs.dicomweb_session import Patience
from radseg.pipelines.listen import listen

SAMPLES = Path(__file__).parents[2] / "sample_data" / "spine" / "dicom"


@pytest.fixture
def studies(tmp_path: Path) -> dict[str, Path]:
    """Three studies of 24 slices each by their UID."""
    found: dict[str, Path] = {}
    for number, series in enumerate([*sorted(SAMPLES.iterdir())[:2], min(SAMPLES.iterdir())]):
        files = sorted(series.iterdir(), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])[:24]
        for index, file in enumerate(files, start=1):
            dataset = pydicom.dcmread(file)
            dataset.StudyInstanceUID = f"1.2.{number}"
            dataset.SeriesInstanceUID = f"1.2.{number}.1"
            dataset.SOPInstanceUID = f"1.2.{number}.1.{index}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.PatientID, dataset.Modality = "P7", "CT"
            target = tmp_path / "in" / str(number) / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(target)
        found[f"1.2.{number}"] = tmp_path / "in" / str(number)
    return found


@pytest.fixture
def run(radseg: Callable[..., Any], small_weights: dict[str, Path], small_options: Callable[..., list[str]]) -> Any:
    """Segments with the small network."""

    def segment(*arguments: str | Path) -> Any:
        return radseg(
            "segment", "spine", *arguments, "--weights", small_weights["spine"], "--device", "cpu",
            *small_options("spine"),
        )  # fmt: skip

    return segment


def _segmentations(orthanc: Any, study: str) -> list[str]:
    """SOPInstanceUIDs of the segmentations that the archive has of a study."""
    query = {"Level": "Instance", "Query": {"StudyInstanceUID": study, "Modality": "SEG"}, "Expand": True}
    answers = orthanc.ask("/tools/find", json.dumps(query).encode())
    return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in answers)


def test_a_study_of_the_archive_gets_its_segmentation_once_by_every_way(
    new_orthanc: Callable[..., Any],
    run: Callable[..., Any],
    studies: dict[str, Path],
    small_weights: dict[str, Path],
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    orthanc = new_orthanc(dicom_port=port, options={"DicomAlwaysAllowStore": True, "DicomCheckCalledAet": False})
    orthanc.put(studies["1.2.0"])
    study, archive = f"{orthanc.url}/studies/1.2.0", f"dicom://ORTHANC@127.0.0.1:{port}"
    first = run(study, "-o", tmp_path / "a", "--output-type", "dicom_seg", "--send-to", orthanc.url)
    assert (first.code, "1 done" in first.out) == (0, True), first.err
    [made] = _segmentations(orthanc, "1.2.0")
    again = run(study, "-o", tmp_path / "a", "--output-type", "dicom_seg", "--send-to", orthanc.url)
    assert (again.code, "0 done, 1 done before" in again.out) == (0, True)
    monkeypatch.chdir(tmp_path)
    assert run(study, "-o", orthanc.url).code == 0
    assert run(study, "-o", tmp_path / "b", "--send-to", archive).code == 0
    if (storescu := dcmtk("storescu")) is not None:
        stop, lines = threading.Event(), list[str]()
        options = {"weights": str(small_weights["spine"]), "device": "cpu", **small["spine"]}
        arguments = {"port": 0, "quiet_seconds": 0, "send_to": archive, "stop": stop, "say": lines.append, **options}
        thread = threading.Thread(target=listen, args=("spine", tmp_path / "c"), kwargs=arguments)
        thread.start()
        try:
            _until(lambda: lines)
            called = lines[0].rpartition(":")[2]
            command = [storescu, "-aec", "RADSEG", "127.0.0.1", called, *map(str, studies["1.2.0"].iterdir())]
            assert subprocess.run(command, check=False).returncode == 0
            _until(lambda: any(line.startswith(("sent", "failed")) for line in lines))
        finally:
            stop.set()
            thread.join()
        assert [line for line in lines if line.startswith("sent the results of study")], lines
    assert _segmentations(orthanc, "1.2.0") == [made]


def test_an_archive_that_stops_in_mid_batch_ends_the_run_in_one_line_and_the_same_command_goes_on(
    new_orthanc: Callable[..., Any],
    run: Callable[..., Any],
    studies: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orthanc, out, clock = new_orthanc(), tmp_path / "out", ClockOfEachThread()
    orthanc.put(*studies.values())
    fetched: list[str] = []
    fetch, lock = DicomwebServer.fetch, threading.Lock()

    def killing(server: DicomwebServer, study: str, series: str, instance: str, target: Path) -> None:
        fetch(server, study, series, instance, target)
        with lock:
            fetched.append(instance)
            if len(fetched) == 60:
                orthanc.kill()

    def impatient(url: Any, _: Any = None) -> DicomwebServer:
        return DicomwebServer(url, Patience(sleep=clock.sleep, clock=clock))

    with monkeypatch.context() as patch:
        patch.setattr(DicomwebServer, "fetch", killing)
        patch.setattr(dicomweb_images, "DicomwebServer", impatient)
        broken = run(f"{orthanc.url}?PatientID=P7", "-o", out)
    assert broken.code == 1
    assert "can't be reached" in broken.err
    assert "Traceback" not in broken.err
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["done", "done"], rows  # what was downloaded before is finished
    with (out / "summary.csv").open(newline="") as file:
        assert {row["case"] for row in csv.DictReader(file)} == {row["case"] for row in rows}
    assert (out / "index.html").is_file()
    masks = {file: file.read_bytes() for file in out.glob("*/mask.nii.gz")}
    assert len(masks) == 2
    orthanc.start()
    whole = run(f"{orthanc.url}?PatientID=P7", "-o", out)
    assert whole.code == 0, whole.err
    assert "1 done, 2 done before, 0 failed, 0 refused" in whole.out
    assert {file: file.read_bytes() for file in masks} == masks


def test_a_series_that_keeps_failing_makes_the_run_fail_and_the_next_run_takes_it_up(
    fake_pacs: Any, run: Callable[..., Any], studies: dict[str, Path], tmp_path: Path
) -> None:
    for folder in studies.values():
        fake_pacs.put(folder)
    (_, series, lost), *_ = fake_pacs.instances
    fake_pacs.faults = {lost: [(403, {})]}
    url = f"{fake_pacs.url}?PatientID=P7"
    broken = run(url, "-o", tmp_path / "out")
    assert broken.code == 1
    assert "2 done, 0 done before, 1 failed" in broken.out
    assert f"/series/{series}: downloading failed: you may not have it (HTTP 403)" in broken.out + broken.err
    whole = run(url, "-o", tmp_path / "out")
    assert (whole.code, "1 done, 2 done before, 0 failed" in whole.out) == (0, True)


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "not within a minute"
        time.sleep(0.02)
