"""The listener takes the images it is for, from whom it may, as they come over the wire, and nothing breaks it."""

import logging
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pynetdicom
import pytest
from dcmtk import dcmtk
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, build_context
from pynetdicom.dimse_primitives import C_STORE

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.pacs import c_store_server
from radseg.pipelines.io.pacs.c_store import load_pynetdicom
from radseg.pipelines.io.pacs.c_store_server import DicomServer, is_loopback, sop_classes

CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"
SYNTAXES = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian),
    *(RLELossless, JPEG2000Lossless, JPEGLSLossless),
)


@dataclass
class Kept:
    """What a server has received."""

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    full: bool = False

    def __call__(self, study_uid: str, instance_uid: str, parts: Iterable[bytes], sender: Any) -> None:
        if self.full:
            raise OSError("No space left on device")
        assert sender.is_established
        self.files[study_uid, instance_uid] = b"".join(parts)


@dataclass
class Listener:
    """A server and what it has received."""

    server: DicomServer
    kept: Kept
    sockets: list[socket.socket] = field(default_factory=list)

    def associate(self, *syntaxes: str, sop_class: str = CT, called: str = "RADSEG", calling: str = "CT99") -> Any:
        load_pynetdicom()
        contexts = [build_context(sop_class, syntax) for syntax in syntaxes or (ExplicitVRLittleEndian,)]
        entity = AE(ae_title=calling)
        entity.dimse_timeout = entity.acse_timeout = 20
        association = entity.associate("127.0.0.1", self.server.port, contexts=contexts, ae_title=called)
        if association.is_established:
            self.sockets.append(association.dul.socket.socket)
        return association

    def status(self, dataset: Any, association: Any = None) -> int | None:
        """Sends a dataset; the answer's status, None when there was none."""
        meanwhile = association or self.associate(dataset.file_meta.TransferSyntaxUID, sop_class=dataset.SOPClassUID)
        assert meanwhile.is_established
        answer = meanwhile.send_c_store(dataset)
        if association is None and meanwhile.is_established:
            meanwhile.release()
        return int(answer.Status) if "Status" in answer else None


@pytest.fixture
def listener() -> Iterator[Callable[..., Listener]]:
    """Starts servers, for CT unless told otherwise."""
    started: list[Listener] = []

    def start(modality: str = "CT", **options: Any) -> Listener:
        kept = Kept()
        settings = {"title": "RADSEG", "bind": "127.0.0.1", "port": 0, "taken": sop_classes(modality), **options}
        started.append(Listener(DicomServer(kept, **settings), kept))
        return started[-1]

    yield start
    for at in started:
        at.server.close()
        for connection in at.sockets:
            connection.close()  # pynetdicom leaves that of a sender who was cut off open


@pytest.fixture
def image(factory: ModuleType) -> Callable[..., Any]:
    """Makes a CT image with these attributes, in this transfer syntax."""

    def make(syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Any:
        dataset = factory.ct_slice(np.arange(80 * 64).reshape(80, 64))
        dataset.StudyInstanceUID = "1.2.3.4"
        dataset.PatientName, dataset.PatientID = "Muster^Erika", "PID-4711"
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        if syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        return pydicom.dcmread(BytesIO(buffer.getvalue()))

    return make


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_image_is_kept_as_it_comes_over_the_wire(
    syntax: str, listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    sent, at = image(syntax), listener()
    assert at.status(sent) == 0
    ((uids, content),) = at.kept.files.items()
    assert uids == ("1.2.3.4", str(sent.SOPInstanceUID))
    stored = pydicom.dcmread(BytesIO(content))
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stored.to_json() == sent.to_json()
    assert np.array_equal(stored.pixel_array, sent.pixel_array)


@pytest.mark.skipif(dcmtk("storescu") is None, reason="dcmtk's storescu is not installed")
def test_real_compressed_images_are_kept_as_they_are(
    listener: Callable[..., Listener], real_data: Path, tmp_path: Path
) -> None:
    at, sent = listener(), {}
    options = {"1.2.840.10008.1.2.4.90": "-xv", "1.2.840.10008.1.2.4.80": "-xt", "1.2.840.10008.1.2.5": "-xr"}
    options |= {"1.2.840.10008.1.2.4.70": "-xs", "1.2.840.10008.1.2.4.51": "-xx", "1.2.840.10008.1.2": "-xi"}
    for file in sorted((real_data / "dicom" / "cornerstone_testImages").rglob("*.dcm")):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        syntax = str(header.file_meta.TransferSyntaxUID)
        if header.get("SOPClassUID") != CT or syntax not in options:
            continue
        command = [
            str(dcmtk("storescu")),
            options[syntax],
            "-aec",
            "RADSEG",
            "127.0.0.1",
            str(at.server.port),
            str(file),
        ]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        sent[syntax] = pydicom.dcmread(file)
        ((_, content),) = at.kept.files.items()
        stored = pydicom.dcmread(BytesIO(content))
        assert str(stored.file_meta.TransferSyntaxUID) == syntax
        assert stored.PixelData == sent[syntax].PixelData
        at.kept.files.clear()
    assert len(sent) >= 4


def test_a_sender_that_leaves_the_choice_to_us_is_not_made_to_compress(listener: Callable[..., Listener]) -> None:
    load_pynetdicom()
    contexts = [build_context(CT, ["1.2.840.10008.1.2.4.50", JPEG2000Lossless, ExplicitVRLittleEndian])]
    association = AE().associate("127.0.0.1", listener().server.port, contexts=contexts, ae_title="RADSEG")
    assert association.accepted_contexts[0].transfer_syntax == [ExplicitVRLittleEndian]
    association.release()


@pytest.mark.parametrize(("modality", "taken", "refused"), [("CT", CT, DX), ("DX", DX, CT)])
def test_only_the_images_that_the_bundle_works_on_are_taken(
    modality: str, taken: str, refused: str, listener: Callable[..., Listener]
) -> None:
    at = listener(modality)
    association = at.associate(sop_class=taken)
    assert association.is_established
    association.release()
    assert not at.associate(sop_class=refused).accepted_contexts


def test_another_called_title_and_an_unlisted_sender_are_rejected(
    listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at = listener(allow_from=["CT99", "PACS"])
    assert at.associate(called="OTHER").is_rejected
    assert at.associate(calling="CT1").is_rejected
    assert at.status(image()) == 0


@pytest.mark.skipif(dcmtk("echoscu") is None, reason="dcmtk's echoscu is not installed")
def test_dcmtk_s_echo_is_answered_and_a_wrong_title_rejected(listener: Callable[..., Listener]) -> None:
    port = str(listener().server.port)

    def echo(title: str) -> Any:
        command = [str(dcmtk("echoscu")), "-aec", title, "127.0.0.1", port]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    assert echo("RADSEG").returncode == 0
    assert "Called AE Title Not Recognized" in echo("OTHER").stderr


def test_a_full_disk_is_answered_with_out_of_resources(
    listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at = listener()
    at.kept.full = True
    association = at.associate()
    assert at.status(image(), association) == 0xA700
    at.kept.full = False
    assert at.status(image(), association) == 0
    association.release()


@pytest.mark.parametrize("study", ["../../x", "1.2/../3", "x" * 10_000])
def test_a_hostile_study_uid_is_only_a_name(
    study: str, listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at, dataset = listener(), image()
    dataset["StudyInstanceUID"]._value = study
    assert at.status(dataset) == 0
    assert [uids[0] for uids in at.kept.files] == [study]


@pytest.mark.parametrize("study", ["", None])
def test_an_image_of_no_study_is_refused(
    study: str | None, listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at, dataset = listener(), image()
    if study is None:
        del dataset.StudyInstanceUID
    else:
        dataset.StudyInstanceUID = study
    assert at.status(dataset) == 0xC000
    assert at.kept.files == {}


@pytest.mark.parametrize(
    "content",
    [
        b"no DICOM at all",
        struct.pack("<HH2sHI", 0x0008, 0x0005, b"UN", 0, 0xFFFFFFF0),  # an element of 4 GB
        struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) * 20_000,  # sequences never closed
    ],
)
def test_what_is_no_dataset_is_refused_and_the_next_image_taken(
    content: bytes, listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at = listener()
    association = at.associate()
    answer = _send_raw(association, "1.2.3", content)
    assert answer is None or answer.Status == 0xC000
    assert at.status(image()) == 0
    assert len(at.kept.files) == 1
    association.abort()


def test_a_small_image_that_inflates_without_end_takes_no_memory(
    listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at, head = listener(), BytesIO()
    pydicom.filewriter.write_dataset(_explicit(head), _study_only("1.2.3"))
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = bomb.compress(head.getvalue()) + bomb.compress(bytes(1 << 26)) * 1 + bomb.flush()
    association = at.associate(DeflatedExplicitVRLittleEndian)
    assert _send_raw(association, "1.2.3", content).Status == 0
    ((uids, kept),) = at.kept.files.items()
    assert uids == ("1.2.3", "1.2.3")
    assert len(kept) < 100_000
    association.release()


@pytest.mark.parametrize("instance", ["../../x", "1.2/3", "a b", "1.2.0003"])
def test_a_hostile_instance_uid_is_only_a_name(instance: str, listener: Callable[..., Listener]) -> None:
    at, content = listener(), BytesIO()
    pydicom.filewriter.write_dataset(_explicit(content), _study_only("1.2.3"))
    association = at.associate()
    assert _send_raw(association, instance, content.getvalue()).Status == 0
    assert list(at.kept.files) == [("1.2.3", instance)]
    association.release()


def test_who_sends_more_than_an_image_can_have_is_cut_off_and_the_others_go_on(
    listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at = listener(max_instance_bytes=100_000)
    association = at.associate()
    assert at.status(image(Rows=1, PixelData=bytes(200_000)), association) is None
    assert at.status(image()) == 0
    assert len(at.kept.files) == 1


def test_images_that_nobody_finishes_dont_fill_memory_and_other_senders_go_on(
    listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at = listener(max_held_bytes=600_000)
    halfway = [at.associate() for _ in range(3)]
    for association in halfway:
        _send_but_for_the_end(association, bytes(250_000))
    _until(lambda: not all(one.is_established for one in halfway), "one of them is cut off")
    assert [one.is_established for one in halfway].count(True) == 2
    assert at.status(image()) == 0
    for association in halfway:
        if association.is_established:
            association.abort()


def test_who_only_looks_whether_the_port_is_open_holds_up_no_sender(
    listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at = listener()
    for _ in range(10):
        socket.create_connection(("127.0.0.1", at.server.port)).close()
    assert at.status(image()) == 0


def test_who_asks_for_no_association_is_soon_hung_up_on(
    listener: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_store_server, "_ASKS_WITHIN_S", 0.5)
    at, begun = listener(), time.monotonic()
    with socket.create_connection(("127.0.0.1", at.server.port), timeout=20) as silent:
        assert silent.recv(1) == b""
    assert time.monotonic() - begun < 10


def test_connections_that_say_nothing_are_bounded(listener: Callable[..., Listener]) -> None:
    at = listener()
    silent = [socket.create_connection(("127.0.0.1", at.server.port), timeout=20) for _ in range(70)]
    assert silent[-1].recv(1) == b""  # hung up
    for connection in silent:
        connection.close()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff" + bytes(1000),  # an association request of 4 GB
        b"\x04\x00\x00\x00\x00\x06" + bytes(6),  # data before any association
        b"\x01\x00\x00\x00\x00\x10" + bytes(16),
        b"",
    ],
)
def test_what_isnt_dicom_is_hung_up_on(
    said: bytes, listener: Callable[..., Listener], image: Callable[..., Any]
) -> None:
    at = listener()
    with socket.create_connection(("127.0.0.1", at.server.port)) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(20)
        answer = connection.recv(1000)
        assert answer[:1] in (b"", b"\x03", b"\x07")  # nothing, a rejection or an abort
    assert at.status(image()) == 0


def test_closing_waits_for_nobody_who_says_nothing(listener: Callable[..., Listener]) -> None:
    at = listener()
    silent = socket.create_connection(("127.0.0.1", at.server.port))
    halfway = socket.create_connection(("127.0.0.1", at.server.port))
    halfway.sendall(b"\x01\x00\x00\x00\x10\x00" + bytes(10))
    association = at.associate()
    at.server.close()
    _until(lambda: not association.is_established, "the association ends")
    assert silent.recv(1) == halfway.recv(1) == b""
    silent.close()
    halfway.close()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"title": "x" * 10_000}, "1 to 16 ASCII characters"),
        ({"title": ""}, "1 to 16 ASCII characters"),
        ({"allow_from": ["A\\B"]}, "1 to 16 ASCII characters"),
        ({"bind": "nowhere.example"}, "give an IP address, such as 127.0.0.1"),
        ({"bind": "192.0.2.1"}, "choose another port or address"),
        ({"port": 70_000}, "choose another port or address"),
    ],
)
def test_what_cant_be_listened_at_is_one_short_line(
    option: dict[str, Any], said: str, listener: Callable[..., Listener]
) -> None:
    with pytest.raises(ConfigError) as error:
        listener(**option)
    assert said in str(error.value)
    assert len(str(error.value)) < 300


def test_a_port_in_use_is_said(listener: Callable[..., Listener]) -> None:
    port = listener().server.port
    with pytest.raises(ConfigError, match=f"can't listen at 127.0.0.1:{port} .*choose another port"):
        listener(port=port)


def test_which_addresses_are_open_to_others_is_known() -> None:
    assert [is_loopback(one) for one in ("127.0.0.1", "localhost", "::1", "127.8.8.8")] == [True] * 4
    assert [is_loopback(one) for one in ("0.0.0.0", "::", "10.0.0.5")] == [False] * 3


def test_nothing_of_the_patient_is_logged_or_said(
    listener: Callable[..., Listener],
    image: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        at = listener()
        assert at.status(image()) == 0
        assert at.status(image(StudyInstanceUID="")) == 0xC000
        at.kept.full = True
        assert at.status(image()) == 0xA700
    said = caplog.text + "".join(capfd.readouterr())
    assert not [word for word in ("Muster", "4711", "1.2.3.4", "1.2.826", "pynetdicom") if word in said]


def test_many_senders_at_once_are_all_served(listener: Callable[..., Listener], image: Callable[..., Any]) -> None:
    at, statuses = listener(), list[int | None]()

    def send(number: int) -> None:
        statuses.append(at.status(image(StudyInstanceUID=f"1.2.{number}")))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 6
    assert len(at.kept.files) == 6


def _study_only(study: str) -> Any:
    dataset = pydicom.Dataset()
    dataset.StudyInstanceUID = study
    return dataset


def _explicit(buffer: BytesIO) -> Any:
    file = pydicom.filebase.DicomFileLike(buffer)
    file.is_implicit_VR, file.is_little_endian = False, True
    return file


def _send_raw(association: Any, instance: str, content: bytes) -> Any:
    """Sends these bytes as an image; the answer, None when the connection was cut."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, instance
    request.DataSet = BytesIO(content)
    association._reactor_checkpoint.clear()
    _until(lambda: association._is_paused, "pynetdicom's reactor stands still")
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return answer


def _send_but_for_the_end(association: Any, content: bytes) -> None:
    """Begins to send these bytes as an image, and says no more."""
    pdus = pynetdicom.dimse_messages.C_STORE_RQ()
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, "1.2.3"
    request.DataSet = BytesIO(content)
    pdus.primitive_to_message(request)
    *parts, _ = pdus.encode_msg(association.accepted_contexts[0].context_id, 50_000)
    for part in parts:
        association.dul.send_pdu(part)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within 20 s"
        time.sleep(0.01)
