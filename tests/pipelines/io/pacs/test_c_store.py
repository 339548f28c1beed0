"""DICOM objects reach an archive by C-STORE, and what goes wrong on the way is one clear line."""

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from dcmtk import dcmtk
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid
from pynetdicom import AE, evt

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.pacs.c_store import Peer, load_pynetdicom, parse_peer, send

CT = "1.2.840.10008.5.1.4.1.1.2"
KINDS = {
    "segmentation": "1.2.840.10008.5.1.4.1.1.66.4",
    "contours": "1.2.840.10008.5.1.4.1.1.481.3",
    "report": "1.2.840.10008.5.1.4.1.1.88.33",
}


@dataclass
class Archive:
    """An archive on loopback: what it got, and what it answers."""

    port: int
    answers: list[int] = field(default_factory=list)
    got: list[Any] = field(default_factory=list)
    break_off_at: int | None = None

    @property
    def address(self) -> str:
        return f"dicom://PACS@127.0.0.1:{self.port}"

    @property
    def instances(self) -> list[str]:
        return [str(dataset.SOPInstanceUID) for dataset in self.got]

    def store(self, event: Any) -> int:
        answer = self.answers.pop(0) if self.answers else 0
        if self.break_off_at == len(self.got):
            self.break_off_at = None
            event.assoc.abort()
            return 0
        if answer < 0xA000 or answer >= 0xB000:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            self.got.append(dataset)
        return answer


@pytest.fixture
def archive() -> Iterator[Callable[..., Archive]]:
    """Starts archives that take these SOP classes in these transfer syntaxes."""
    load_pynetdicom()
    entities = []

    def start(
        taken: Sequence[str] = (*KINDS.values(), CT),
        syntaxes: Sequence[str] = (ExplicitVRLittleEndian,),
        known: Sequence[str] = (),
        port: int = 0,
        **behaviour: Any,
    ) -> Archive:
        entity = AE(ae_title="PACS")
        entity.require_called_aet = True
        entity.require_calling_aet = list(known)
        for sop_class in taken:
            entity.add_supported_context(sop_class, list(syntaxes))
        made = Archive(port, **behaviour)
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, made.store)])
        entities.append(entity)
        made.port = server.server_address[1]
        return made

    yield start
    for entity in entities:
        entity.shutdown()


@pytest.fixture
def objects(factory: ModuleType, tmp_path: Path) -> list[Path]:
    """A segmentation, contours and a report of a patient (as far as a network can tell)."""
    files = []
    for name, sop_class in KINDS.items():
        dataset = factory.ct_slice(np.zeros((4, 4)), number=len(files))
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.PatientName, dataset.PatientID = "Muster^Erika", "PID-4711"
        dataset.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
        files.append(tmp_path / f"{name}.dcm")
    return files


def _compressed(factory: ModuleType, path: Path, syntax: str) -> np.ndarray:
    dataset = factory.ct_slice(np.arange(80 * 64).reshape(80, 64))
    values = dataset.pixel_array.copy()
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return values


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_segmentations_contours_and_reports_arrive_as_they_were_written(
    archive: Callable[..., Archive], objects: list[Path]
) -> None:
    pacs = archive()
    send(objects, pacs.address)
    assert [str(dataset.SOPClassUID) for dataset in pacs.got] == list(KINDS.values())
    assert [dataset.to_json() for dataset in pacs.got] == [pydicom.dcmread(file).to_json() for file in objects]


def test_nothing_to_send_needs_no_archive() -> None:
    assert send([], f"dicom://PACS@127.0.0.1:{_free_port()}") is None


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_a_compressed_object_stays_compressed_where_that_is_taken(
    archive: Callable[..., Archive], factory: ModuleType, tmp_path: Path, syntax: str
) -> None:
    values = _compressed(factory, tmp_path / "x.dcm", syntax)
    pacs = archive(syntaxes=[ExplicitVRLittleEndian, syntax])
    send([tmp_path / "x.dcm"], pacs.address)
    assert pacs.got[0].file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(pacs.got[0].pixel_array, values)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_a_compressed_object_is_decompressed_where_it_is_not_taken(
    archive: Callable[..., Archive], factory: ModuleType, tmp_path: Path, syntax: str
) -> None:
    values = _compressed(factory, tmp_path / "x.dcm", syntax)
    pacs = archive()
    send([tmp_path / "x.dcm"], pacs.address)
    assert pacs.got[0].file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(pacs.got[0].pixel_array, values)
    assert pacs.instances == [str(pydicom.dcmread(tmp_path / "x.dcm").SOPInstanceUID)]


def test_the_archive_that_takes_no_such_object_is_named(archive: Callable[..., Archive], objects: list[Path]) -> None:
    pacs = archive(taken=[CT])
    with pytest.raises(InputError, match=rf"{pacs.address}: takes none of the objects' kinds \(Segmentation Storage"):
        send(objects, pacs.address, pauses_s=())
    pacs = archive(taken=[KINDS["segmentation"]])
    with pytest.raises(InputError, match="doesn't take RT Structure Set Storage; have it enabled there"):
        send(objects, pacs.address, pauses_s=())


def test_a_big_endian_object_that_nobody_takes_is_one_line(
    archive: Callable[..., Archive], factory: ModuleType, tmp_path: Path
) -> None:
    dataset = factory.ct_slice(np.zeros((4, 4)))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset["PixelData"].VR = "OW"
    pydicom.dcmwrite(tmp_path / "x.dcm", dataset, implicit_vr=False, little_endian=False)
    with pytest.raises(InputError, match="can't be sent") as error:
        send([tmp_path / "x.dcm"], archive().address, pauses_s=())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("dicom://PACS@10.0.0.5:104", Peer("PACS", "10.0.0.5", 104)),
        ("dicom://MY%20PACS@pacs.local:11112/?from=OURS", Peer("MY PACS", "pacs.local", 11112, "OURS")),
        ("dicom://PACS@[::1]:104", Peer("PACS", "::1", 104)),
    ],
)
def test_an_address_says_who_and_where(address: str, peer: Peer) -> None:
    assert parse_peer(address) == peer
    assert parse_peer(f"{peer}?from={peer.our_title}".replace(" ", "%20")) == peer


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("dicom://10.0.0.5:104", "is no DICOM address; give dicom://AET@HOST:PORT"),
        ("dicom://PACS@10.0.0.5", "give dicom://AET@HOST:PORT"),
        ("dicom://PACS@10.0.0.5:0", "give dicom://AET@HOST:PORT"),
        ("dicom://PACS@10.0.0.5:99999", "give dicom://AET@HOST:PORT"),
        ("dicom://PACS@host:104?to=X", "give dicom://AET@HOST:PORT"),
        ("http://PACS@host:104", "give dicom://AET@HOST:PORT"),
        ("dicom://SEVENTEEN_LETTERS@host:104", "1 to 16 ASCII characters"),
        (f"dicom://{'A' * 10_000}@host:104", "1 to 16 ASCII characters"),
        ("dicom://A%0AB@host:104", "1 to 16 ASCII characters"),
        ("dicom://%20@host:104", "1 to 16 ASCII characters"),
        ("dicom://PÄCS@host:104", "1 to 16 ASCII characters"),
        ("dicom://PACS@host:104?from=A%5CB", "1 to 16 ASCII characters"),
    ],
)
def test_what_is_no_address_is_refused_in_one_short_line(address: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_peer(address)
    assert said in str(error.value)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def test_an_archive_of_another_title_or_that_doesnt_know_us_says_so(
    archive: Callable[..., Archive], objects: list[Path]
) -> None:
    pacs = archive(known=["HOSPITAL"])
    with pytest.raises(InputError, match="rejected: its AE title isn't OTHER; check the address"):
        send(objects, pacs.address.replace("PACS", "OTHER"), pauses_s=())
    with pytest.raises(InputError, match=r"doesn't know our AE title RADSEG; register it there, or add \?from="):
        send(objects, pacs.address, pauses_s=())
    send(objects, f"{pacs.address}?from=HOSPITAL", pauses_s=())
    assert len(pacs.got) == 3


def test_an_archive_that_is_away_is_tried_again_and_then_named(objects: list[Path]) -> None:
    slept: list[float] = []
    with pytest.raises(InputError, match=r"can't be reached \(Connection refused\); check the address and that it is"):
        send(objects, f"dicom://PACS@127.0.0.1:{_free_port()}", pauses_s=(1, 5), sleep=slept.append)
    assert slept == [1, 5]


def test_something_else_at_the_address_is_named(objects: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def hang_up() -> None:
            for _ in range(2):
                connection, _ = web.accept()
                connection.recv(1)
                connection.close()

        server = threading.Thread(target=hang_up)
        server.start()
        with pytest.raises(InputError, match="doesn't answer as DICOM does; check the address"):
            send(objects, f"dicom://PACS@127.0.0.1:{web.getsockname()[1]}", pauses_s=())
        server.join()


def test_an_archive_that_comes_back_gets_everything(archive: Callable[..., Archive], objects: list[Path]) -> None:
    port, came_back = _free_port(), list[Archive]()
    send(objects, f"dicom://PACS@127.0.0.1:{port}", sleep=lambda _: came_back.append(archive(port=port)))
    assert [len(pacs.got) for pacs in came_back] == [3]


def test_what_an_archive_took_before_it_broke_off_is_not_sent_twice(
    archive: Callable[..., Archive], objects: list[Path]
) -> None:
    pacs, slept = archive(break_off_at=1), list[float]()
    send(objects, pacs.address, pauses_s=(1, 5), sleep=slept.append)
    assert [str(dataset.SOPClassUID) for dataset in pacs.got] == list(KINDS.values())
    assert slept == [1]


def test_an_archive_without_room_is_tried_again(archive: Callable[..., Archive], objects: list[Path]) -> None:
    pacs, slept = archive(answers=[0, 0xA700, 0xA702]), list[float]()
    send(objects, pacs.address, pauses_s=(1, 5), sleep=slept.append)
    assert len(set(pacs.instances)) == len(pacs.instances) == 3
    assert slept == [1, 5]
    full = archive(answers=[0xA700])
    with pytest.raises(
        InputError, match=r"didn't store the Segmentation Storage: it is out of resources \(status 0xA7"
    ):
        send(objects, full.address, pauses_s=())


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0xA900, "the data set doesn't match its SOP class (status 0xA900)"),
        (0xC123, "it can't understand the data set (status 0xC123)"),
        (0x0124, "not authorised (status 0x0124)"),
        (0x0122, "it doesn't support the SOP class (status 0x0122)"),
        (0x0999, "an unknown failure (status 0x0999)"),
    ],
)
def test_a_refusal_is_said_in_words(
    archive: Callable[..., Archive], objects: list[Path], status: int, said: str
) -> None:
    pacs, slept = archive(answers=[status]), list[float]()
    with pytest.raises(InputError) as error:
        send(objects, pacs.address, sleep=slept.append)
    assert str(error.value).endswith(said)
    assert slept == []


def test_a_warning_is_logged_and_the_object_counts_as_stored(
    archive: Callable[..., Archive], objects: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    pacs = archive(answers=[0xB000, 0, 0xB006])
    with caplog.at_level(logging.WARNING, "radseg"):
        send(objects, pacs.address, pauses_s=())
    assert len(pacs.got) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{pacs.address}: stored with a warning: it coerced data elements (0xB000)",
        f"{pacs.address}: stored with a warning: it discarded elements (0xB006)",
    ]


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\0" * 128 + b"DICM"])
def test_a_file_that_isnt_dicom_is_named_before_anybody_is_called(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.dcm: can't be sent, not readable as DICOM"):
        send([tmp_path / "x.dcm"], f"dicom://PACS@127.0.0.1:{_free_port()}", pauses_s=())


def test_without_pynetdicom_the_remedy_is_said(objects: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(ConfigError, match=r"needs pynetdicom; run: pip install 'radseg\[listen\]'"):
        send(objects, "dicom://PACS@127.0.0.1:104")


def test_no_log_and_no_output_holds_anything_of_the_patient_or_the_images(
    archive: Callable[..., Archive],
    objects: list[Path],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger("pynetdicom").setLevel(logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        send(objects, archive(answers=[0xB000]).address, pauses_s=())
        with pytest.raises(InputError):
            send(objects, archive(taken=[CT]).address, pauses_s=())
    said = caplog.text + "".join(capfd.readouterr())
    assert "pynetdicom" not in said
    assert not [word for word in ("Muster", "4711", "1.2.826") if word in said]


@contextmanager
def _dcmtk_archive(folder: Path) -> Iterator[int]:
    port = _free_port()
    command = [str(dcmtk("storescp")), "--fork", "-aet", "PACS", "-od", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while subprocess.run(
            [str(dcmtk("echoscu")), "127.0.0.1", str(port)], check=False, capture_output=True
        ).returncode:
            assert time.monotonic() < deadline, "storescp doesn't answer"
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(dcmtk("storescp") is None, reason="dcmtk's storescp is not installed")
def test_dcmtk_s_archive_gets_the_same_objects(objects: list[Path], tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    for file in objects:
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(file, enforce_file_format=True)
    with _dcmtk_archive(tmp_path / "archive") as port:
        send(objects, f"dicom://PACS@127.0.0.1:{port}")
    stored = {pydicom.dcmread(file).to_json() for file in (tmp_path / "archive").iterdir()}
    assert stored == {pydicom.dcmread(file).to_json() for file in objects}
