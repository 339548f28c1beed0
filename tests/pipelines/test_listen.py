"""Images sent to the listener come back as segmentations, whatever happens in between."""

import errno
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dcmtk import dcmtk

from radseg.pipelines.errors import ConfigError, InputError, RadsegError
from radseg.pipelines.inbox import Inbox, Study
from radseg.pipelines.io.pacs.c_store_server import DicomServer, sop_classes
from radseg.pipelines.listen import LoadedBundle, listen, work_through
from radseg.pipelines.segment import Batch, segment

SERIES = sorted((Path(__file__).parents[2] / "sample_data" / "spine" / "dicom").iterdir())[:2]
SLICES = 24  # of each series, from the feet up, are enough to segment

needs_dcmtk = pytest.mark.skipif(
    not all(map(dcmtk, ("storescu", "storescp", "echoscu"))), reason="dcmtk's programs are not installed"
)


def _slices(series: Path) -> list[Path]:
    return sorted(series.iterdir(), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])[:SLICES]


def _until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within a minute"
        time.sleep(0.02)


@dataclass
class Heard:
    """What a listener says, and its clock, which is set by hand."""

    lines: list[str] = field(default_factory=list)
    now: float = 100.0

    def said(self, text: str, times: int = 1) -> bool:
        return sum(text in line for line in self.lines) >= times

    @property
    def port(self) -> int:
        return int(re.search(r"at 127\.0\.0\.1:(\d+)", self.lines[0])[1])  # type: ignore[index]


@dataclass(eq=False)
class Closed:
    """A sender that has gone."""

    is_established: bool = False


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Callable[..., tuple[Inbox, Heard]]]:
    """Works through an inbox with a segmentation that a test makes up, until nothing is left to do."""
    opened: list[Inbox] = []

    def run(make: Callable[[Study], Batch], sent: dict[str, list[str]], **options: Any) -> tuple[Inbox, Heard]:
        heard, stop = Heard(), threading.Event()
        for earlier in opened:
            earlier.close()
        inbox = Inbox(tmp_path / "inbox", quiet_seconds=0, **options)
        opened.append(inbox)
        for study, instances in sent.items():
            for instance in instances:
                inbox.keep(study, instance, [b"x"], Closed())
        looks = iter([False, False])  # looked once more when it is empty, then stopped
        inbox_next = inbox.next_study

        def next_study() -> Study | None:
            study = inbox_next()
            if study is None and next(looks, True):
                stop.set()
            return study

        inbox.next_study = next_study  # type: ignore[method-assign]
        work_through(inbox, make, stop, heard.lines.append)
        return inbox, heard

    yield run
    for inbox in opened:
        inbox.close()


def _batch(**ended: Any) -> Batch:
    return Batch(Path("out"), "out", **ended)


def test_a_study_that_fails_is_said_in_one_line_and_the_next_one_is_done(work: Callable[..., Any]) -> None:
    turns: list[Study] = []

    def make(study: Study) -> Batch:
        turns.append(study)
        if len(turns) == 1:
            raise InputError("two lines\nof trouble")
        if len(turns) == 2:
            return _batch(failed={"abc": "no room"}, done=["def"])
        return _batch(done=["abc"])

    _, heard = work(make, {"1": ["a"], "2": ["b"], "3": ["c", "d"]})
    names = [study.name for study in turns]
    assert heard.lines == [
        f"received 1 images of study {names[0]}",
        f"failed study {names[0]}: two lines of trouble; kept in the inbox",
        f"received 1 images of study {names[1]}",
        f"failed study {names[1]}, case abc: no room; kept in the inbox",
        f"received 2 images of study {names[2]}",
        f"segmented study {names[2]}: 1 cases; see out",
    ]


def test_a_failed_study_is_tried_again_after_a_restart(work: Callable[..., Any]) -> None:
    tried: list[Study] = []

    def make(study: Study) -> Batch:
        tried.append(study)
        return _batch(done=["abc"]) if len(tried) > 1 else _batch(failed={"abc": "no room"})

    work(make, {"1": ["a", "b"]}, keep_seconds=0)
    _, heard = work(make, {}, keep_seconds=0)
    assert [study.resumed for study in tried] == [False, True]
    assert heard.said("segmented study")
    assert not list(tried[0].folder.glob("*.dcm"))
    _, heard = work(make, {}, keep_seconds=0)
    assert heard.lines == []


def test_a_study_without_anything_for_the_bundle_is_said_and_not_tried_again(work: Callable[..., Any]) -> None:
    refused = {"scout": "a localiser"}
    _, heard = work(lambda _: _batch(refused=refused), {"1": ["a"]})
    assert heard.lines[1].endswith(": a localiser")
    assert heard.lines[1].startswith("nothing to segment in study")
    assert work(lambda _: _batch(refused=refused), {})[1].lines == []


def test_a_rest_that_comes_after_the_images_are_deleted_never_replaces_the_whole(work: Callable[..., Any]) -> None:
    done: list[Study] = []

    def make(study: Study) -> Batch:
        done.append(study)
        return _batch(done=["abc"])

    work(make, {"1": ["a", "b"]}, keep_seconds=0)
    _, heard = work(make, {"1": ["c"]}, keep_seconds=0)
    assert len(done) == 1
    assert "2 more were segmented earlier and deleted since; send the whole study again" in heard.lines[0]
    work(make, {"1": ["a", "b"]}, keep_seconds=0)
    assert [len(study.instances) for study in done] == [2, 3]


@pytest.fixture
def options(small_weights: dict[str, Path], small: dict[str, Any]) -> dict[str, Any]:
    return {"weights": str(small_weights["spine"]), "device": "cpu", **small["spine"]}


@pytest.fixture
def listener(options: dict[str, Any], tmp_path: Path) -> Callable[..., Any]:
    """Listens with the small network in a thread of its own."""

    @contextmanager
    def run(**more: Any) -> Iterator[Heard]:
        heard, stop, ended = Heard(), threading.Event(), list[BaseException]()

        def in_thread() -> None:
            settings = {"port": 0, "output_type": "nifti", **options, **more}
            try:
                listen(
                    "spine", tmp_path / "out", stop=stop, say=heard.lines.append, clock=lambda: heard.now, **settings
                )
            except BaseException as error:
                ended.append(error)
                heard.lines.append("ended")

        thread = threading.Thread(target=in_thread)
        thread.start()
        try:
            _until(lambda: heard.lines, "the listener listens")
            yield heard
        finally:
            stop.set()
            thread.join()
        if ended:
            raise ended[0]

    return run


def _send(
    port: int, *files: Path, syntax: str = "-xe", called: str = "RADSEG", more: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    command = [str(dcmtk("storescu")), syntax, *more, "-aec", called, "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _results(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.glob("*/*/statistics.json"))


@needs_dcmtk
def test_a_study_sent_in_two_parts_and_two_ways_gives_the_mask_of_its_folder(
    listener: Callable[..., Any], options: dict[str, Any], tmp_path: Path
) -> None:
    files = _slices(SERIES[0])
    with listener() as heard:
        assert _send(heard.port, *files[::2], syntax="-xi").returncode == 0
        heard.now += 29
        assert _send(heard.port, *files[1::2]).returncode == 0
        assert not heard.said("received")
        heard.now += 30
        _until(lambda: heard.said("segmented study"), "the study is segmented")
        assert heard.said(f"received {len(files)} images of study")
    (result,) = _results(tmp_path / "out")
    alone = segment("spine", files, tmp_path / "alone", progress=False, **options)
    expected, mask = (nib.load(one / "mask.nii.gz") for one in (tmp_path / "alone" / alone.done[0], result))
    assert result.name == alone.done[0]
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))
    assert np.array_equal(mask.affine, expected.affine)
    assert heard.lines[-1] == "stopped; 0 studies wait in the inbox"


@needs_dcmtk
def test_late_images_bring_the_whole_study_up_again_and_replace_its_results(
    listener: Callable[..., Any], tmp_path: Path
) -> None:
    files = _slices(SERIES[0])
    with listener() as heard:
        _send(heard.port, *files[:-5])
        heard.now += 30
        _until(lambda: heard.said("segmented study"), "the study is segmented")
        (result,) = _results(tmp_path / "out")
        first = nib.load(result / "mask.nii.gz").shape
        _send(heard.port, *files[-5:])
        heard.now += 30
        _until(lambda: heard.said("segmented study", times=2), "the study is segmented again")
    assert _results(tmp_path / "out") == [result]
    assert (first[2], nib.load(result / "mask.nii.gz").shape[2]) == (len(files) - 5, len(files))


@needs_dcmtk
def test_two_studies_sent_alternately_over_one_association_give_two_results(
    listener: Callable[..., Any], tmp_path: Path
) -> None:
    pairs = zip(*map(_slices, SERIES), strict=True)
    with listener() as heard:
        assert _send(heard.port, *(file for pair in pairs for file in pair)).returncode == 0
        heard.now += 30
        _until(lambda: heard.said("segmented study", times=2), "both studies are segmented")
    assert len(_results(tmp_path / "out")) == 2
    assert len({result.parent for result in _results(tmp_path / "out")}) == 2


@needs_dcmtk
def test_the_segmentation_goes_back_to_the_archive_and_names_its_images(
    listener: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("radseg.pipelines.dicom_out.segmentation")
    (tmp_path / "archive").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    archive = subprocess.Popen(
        [str(dcmtk("storescp")), "-aet", "PACS", "-od", str(tmp_path / "archive"), str(port)], stderr=subprocess.DEVNULL
    )
    try:
        echo = [str(dcmtk("echoscu")), "127.0.0.1", str(port)]
        _until(lambda: subprocess.run(echo, check=False, capture_output=True).returncode == 0, "the archive answers")
        with listener(output_type=["nifti", "dicom_seg"], send_to=f"dicom://PACS@127.0.0.1:{port}") as heard:
            _send(heard.port, *_slices(SERIES[0]))
            heard.now += 30
            _until(lambda: heard.said("study", times=3), "the study is segmented and sent")
            assert heard.said("sent the results of study"), heard.lines
    finally:
        archive.terminate()
        archive.wait()
    (stored,) = (tmp_path / "archive").iterdir()
    seg, images = pydicom.dcmread(stored), [pydicom.dcmread(file) for file in _slices(SERIES[0])]
    assert seg.Modality == "SEG"
    assert seg.StudyInstanceUID == images[0].StudyInstanceUID
    named = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named <= {image.SOPInstanceUID for image in images}
    assert named


@needs_dcmtk
def test_who_calls_another_title_is_rejected_and_other_images_are_not_taken(
    listener: Callable[..., Any], tmp_path: Path
) -> None:
    file = min(SERIES[0].iterdir())
    dataset = pydicom.dcmread(file)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.save_as(tmp_path / "mr.dcm")
    with listener(allow_from=["STORESCU"]) as heard:
        assert "Called AE Title Not Recognized" in _send(heard.port, file, called="OTHER").stderr
        assert _send(heard.port, tmp_path / "mr.dcm").returncode != 0
        assert _send(heard.port, file).returncode == 0
    assert heard.lines[-1] == "stopped; 1 studies wait in the inbox"


def test_the_networks_are_loaded_once_for_all_studies(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from radseg.pipelines import weights

    loaded: list[object] = []
    load = weights.load_members
    monkeypatch.setattr(weights, "load_members", lambda *given: (loaded.append(given), load(*given))[1])
    bundle = LoadedBundle("spine", tmp_path, tmp_path / "out", **options)
    for series in SERIES:
        assert bundle.segment(Study(series.name, series, frozenset())).ok
    assert bundle.modality == "CT"
    assert len(loaded) == 1
    assert len(_results(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"aet": "x" * 10_000}, "1 to 16 ASCII characters"),
        ({"bind": "nowhere"}, "give an IP address"),
        ({"quiet_seconds": math.nan}, "give 0 or more"),
        ({"send_to": "pacs.local"}, "give dicom://AET@HOST:PORT"),
        ({"weights": "/no/such/model.pt"}, "model.pt"),
        ({"no_such_key": 1}, "no_such_key"),
    ],
)
def test_what_cant_work_is_said_before_anything_is_received(
    option: dict[str, Any], said: str, listener: Callable[..., Any]
) -> None:
    with pytest.raises(RadsegError) as error, listener(**option):
        pass
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_results_that_go_to_a_store_need_a_local_inbox() -> None:
    with pytest.raises(ConfigError, match="name a local inbox_dir"):
        listen("spine", "s3://bucket/out")


def test_an_address_that_others_reach_is_warned_of(listener: Callable[..., Any]) -> None:
    with listener(bind="0.0.0.0") as heard:
        assert heard.lines[0].startswith("warning: 0.0.0.0 is open to the network, and DICOM is neither encrypted")
        _until(lambda: len(heard.lines) > 1, "the listener listens")


@needs_dcmtk
def test_a_study_that_met_a_full_disk_is_whole_when_it_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, files, left = Heard(), _slices(SERIES[0]), [10]

    def sync(_: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    inbox = Inbox(tmp_path / "inbox", clock=lambda: heard.now)
    server = DicomServer(inbox.keep, title="RADSEG", bind="127.0.0.1", port=0, taken=sop_classes("CT"))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sync)
            refused = _send(server.port, *files, more=["-v"])
        assert refused.returncode != 0
        assert "Refused: OutOfResources" in refused.stderr
        assert not [file for file in tmp_path.rglob("*") if file.suffix == ".part"]
        assert _send(server.port, *files).returncode == 0
        heard.now += 30
        study = inbox.next_study()
    finally:
        server.close()
        inbox.close()
    assert study is not None
    assert len(study.instances) == len(files)
    kept = {pydicom.dcmread(file).PixelData for file in study.folder.glob("*.dcm")}
    assert kept == {pydicom.dcmread(file).PixelData for file in files}


PROGRAM = """
import sys, threading
from pathlib import Path
from radseg.pipelines.inbox import Inbox
from radseg.pipelines.io.pacs.c_store_server import DicomServer, sop_classes
inbox = Inbox(Path(sys.argv[1]))
server = DicomServer(inbox.keep, title="RADSEG", bind="127.0.0.1", port=0, taken=sop_classes("CT"))
print(server.port, flush=True)
threading.Event().wait()
"""


@needs_dcmtk
def test_a_listener_killed_in_mid_study_goes_on_with_it_when_started_again(
    listener: Callable[..., Any], tmp_path: Path
) -> None:
    files, out = _slices(SERIES[0]), tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(out / "inbox")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert _send(int(process.stdout.readline()), *files[:10]).returncode == 0
        process.kill()
    with listener() as heard:
        assert heard.lines[0].endswith("1 studies from before wait")
        assert _send(heard.port, *files[10:]).returncode == 0
        heard.now += 30
        _until(lambda: heard.said(f"received {len(files)} images"), "the study is whole")
        _until(lambda: heard.said("segmented study"), "the study is segmented")
    assert heard.lines[-1] == "stopped; 0 studies wait in the inbox"
    (result,) = _results(out)
    assert nib.load(result / "mask.nii.gz").shape[2] == len(files)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_listener_and_is_itself_again_afterwards(
    options: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    before, lines = signal.getsignal(number), list[str]()

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("listening"):
            os.kill(os.getpid(), number)

    listen("spine", tmp_path / "out", port=0, say=say, output_type="nifti", **options)
    assert lines[-1] == "stopped; 0 studies wait in the inbox"
    assert signal.getsignal(number) is before
