"""The receiving end of C-STORE (PS3.4 Annex B): which images are taken, from whom, and how much at once."""

import ipaddress
import zlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from io import BytesIO
from socket import SHUT_RDWR
from threading import Lock
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import pydicom
from pydicom.filereader import read_dataset

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.dicom.header import quiet_pydicom
from radseg.pipelines.io.dicom.radiograph import SOP_CLASSES as RADIOGRAPHS
from radseg.pipelines.io.dicom.radiograph import wants_radiographs
from radseg.pipelines.io.pacs.c_store import MAX_PDU_BYTES, ae_title, load_pynetdicom

_CT = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
)
# PS3.6 table A-1: those that stored_frames can decode. A sender that leaves the choice to us isn't made to compress,
# least of all with loss.
TRANSFER_SYNTAXES = tuple(
    f"1.2.840.10008.1.2{suffix}"
    for suffix in (
        *(".1", "", ".2", ".4.70", ".4.57", ".4.80", ".4.90", ".4.201", ".4.202", ".5", ".1.99"),
        *(".4.50", ".4.51", ".4.81", ".4.91", ".4.203"),
    )
)
MAX_INSTANCE_BYTES = 1 << 30
MAX_HELD_BYTES = 2 << 30
MAX_ASSOCIATIONS = 32
_MAX_CONNECTIONS = 2 * MAX_ASSOCIATIONS  # with those that don't ask for an association, or are being rejected
_MAX_READ_BYTES = 1 << 20  # of one PDU; an A-ASSOCIATE-RQ that proposes a lot is longer than MAX_PDU_BYTES
_MAX_QUEUED = 1  # messages that wait for their turn; a sender that doesn't wait for answers has more
_IDLE_S = 120
_ASKS_WITHIN_S = 10  # for an association; who only looks whether the port is open has a place for as long
_STUDY = pydicom.tag.Tag("StudyInstanceUID")
_HEAD_BYTES = 1 << 20
# PS3.4 table B.2-1
_SUCCESS, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000


class Keep(Protocol):
    """What is done with an image; called by several threads."""

    def __call__(self, study_uid: str, instance_uid: str, parts: Iterable[bytes], sender: Any) -> None:
        """Keeps an image on disk, or raises OSError and leaves nothing."""


def sop_classes(modality: str) -> tuple[str, ...]:
    """SOP classes of the images that a bundle of this modality works on; no others are taken."""
    return tuple(RADIOGRAPHS) if wants_radiographs(modality) else _CT


class DicomServer:
    """A C-STORE and C-ECHO provider, which runs from its making until `close`.

    Args:
        keep: gets each image, as it came over the network with a file header before it.
        title: its AE title; an association that calls another is rejected.
        bind: IP address to listen at.
        port: TCP port; 0 for any.
        taken: SOP classes that are accepted.
        allow_from: AE titles that may send; all when empty.
        max_instance_bytes: who sends a larger image is cut off.
        max_held_bytes: who sends more when all senders' unfinished images together have as much is cut off.

    Raises:
        ConfigError: a title, the address or the port can't be used, or pynetdicom isn't installed.
    """

    def __init__(
        self,
        keep: Keep,
        *,
        title: str,
        bind: str,
        port: int,
        taken: Sequence[str],
        allow_from: Sequence[str] = (),
        max_instance_bytes: int = MAX_INSTANCE_BYTES,
        max_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        module = load_pynetdicom()
        self._keep = keep
        self._connections: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # association to its socket
        self._max_instance_bytes, self._max_held_bytes = max_instance_bytes, max_held_bytes
        self._counting = Lock()
        self._encode_meta = module.dsutils.encode_file_meta
        entity = module.AE(ae_title=ae_title(title))
        entity.require_called_aet = True
        entity.require_calling_aet = [ae_title(one) for one in allow_from]
        entity.maximum_associations, entity.maximum_pdu_size = MAX_ASSOCIATIONS, MAX_PDU_BYTES
        entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = _ASKS_WITHIN_S, _IDLE_S, _IDLE_S
        entity.add_supported_context("1.2.840.10008.1.1")  # Verification
        for sop_class in taken:
            entity.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        events = module.evt
        handlers = [(events.EVT_C_STORE, self._store), (events.EVT_CONN_OPEN, self._limit)]
        try:
            self._server = entity.start_server((_address(bind), port), block=False, evt_handlers=handlers)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"can't listen at {bind}:{port} ({reason}); choose another port or address") from error
        self._closing = ExitStack()
        self._closing.enter_context(quiet_pydicom())  # it tells of UIDs that break the standard's rules
        self._closing.callback(self._hang_up)
        self.port = int(self._server.server_address[1])

    def close(self) -> None:
        """Breaks off what is being received and stops listening."""
        self._closing.close()

    def _hang_up(self) -> None:
        self._server.shutdown()
        for association, connection in list(self._connections.items()):
            with suppress(OSError):  # it may be closed
                connection.shutdown(SHUT_RDWR)  # else pynetdicom waits for the rest of what somebody began to say
            association.kill()
            connection.close()

    def _limit(self, event: Any) -> None:
        """Bounds the memory and the time that one connection takes; pynetdicom itself believes any length."""
        association = event.assoc
        socket = association.dul.socket
        socket.socket.settimeout(_IDLE_S)
        self._connections[association] = socket.socket
        if len(self._others(association)) >= _MAX_CONNECTIONS:
            socket.socket.shutdown(SHUT_RDWR)
        receive = socket.recv

        def bounded(count: int) -> bytearray:
            held, queued = _held(association), association.dimse.msg_queue.qsize()
            with self._counting:  # one after another, so that no more are cut off than must be
                together = held + count + sum(map(_held, self._others(association)))
                too_long = count > _MAX_READ_BYTES or held + count > self._max_instance_bytes
                if too_long or queued > _MAX_QUEUED or together > self._max_held_bytes:
                    self._connections.pop(association, None)  # it counts no more, though it takes a while to end
                    raise ConnectionAbortedError
            return bytearray(receive(count))

        socket.recv = bounded

    def _others(self, association: Any) -> list[Any]:
        """The other connections that are open; safe while threads add theirs."""
        known = [reference() for reference in self._connections.keyrefs()]
        others = [(one, self._connections.get(one)) for one in known if one is not None and one is not association]
        return [one for one, connection in others if connection is not None and connection.fileno() >= 0]

    def _store(self, event: Any) -> int:
        """Takes one image; the answer is a C-STORE status."""
        try:
            with quiet_pydicom():
                content = event.encoded_dataset(include_meta=False)
                meta = self._encode_meta(event.file_meta)
                study = _study_uid(content, event.context.transfer_syntax)
        except Exception:  # whatever a damaged or hostile image makes pydicom raise
            return _CANNOT_UNDERSTAND
        if not study:
            return _CANNOT_UNDERSTAND
        instance = str(event.request.AffectedSOPInstanceUID)
        try:
            self._keep(study, instance, (b"\0" * 128 + b"DICM", meta, content), event.assoc)
        except OSError:
            return _OUT_OF_RESOURCES
        return _SUCCESS


def _held(association: Any) -> int:
    """Bytes of the message that an association is receiving and of those that wait for their turn."""
    dimse = association.dimse
    message, waiting = dimse.message, list(dimse.msg_queue.queue)
    held = message.data_set.tell() + message.encoded_command_set.tell() if message is not None else 0
    content = (getattr(primitive, "DataSet", None) for _, primitive in waiting)
    return int(held + sum(one.getbuffer().nbytes for one in content if one is not None))


def is_loopback(bind: str) -> bool:
    """Whether only programs on this machine reach an address.

    Raises:
        ConfigError: it isn't one.
    """
    return ipaddress.ip_address(_address(bind)).is_loopback


def _address(bind: str) -> str:
    try:
        return str(ipaddress.ip_address("127.0.0.1" if bind == "localhost" else bind))
    except ValueError as error:
        raise ConfigError(f"{bind!r} is no address of this machine; give an IP address, such as 127.0.0.1") from error


def _study_uid(content: bytes, syntax: str) -> str:
    """StudyInstanceUID of an encoded dataset; what comes after it isn't looked at."""
    uid = pydicom.uid.UID(syntax)
    if uid.is_deflated:  # a small file may inflate without bound
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, _HEAD_BYTES)
    head = read_dataset(
        BytesIO(content),
        uid.is_implicit_VR,
        uid.is_little_endian,
        stop_when=lambda tag, vr, length: tag > _STUDY,
        specific_tags=[_STUDY],
    )
    return str(head.get("StudyInstanceUID") or "").strip(" \0")
