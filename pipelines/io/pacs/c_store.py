"""DICOM objects sent to an archive by C-STORE (PS3.4 Annex B, PS3.7 9.1.1), and who is who on a DICOM network."""

import logging
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.dicom.header import quiet_pydicom
from radseg.pipelines.io.volume import first_line

PAUSES_S = (1.0, 5.0, 20.0)
"""Between attempts to reach an archive that is away or busy."""
OUR_TITLE = "RADSEG"
MAX_PDU_BYTES = 1 << 17
_CONNECT_S = 15
_MAX_KINDS = 64  # two presentation contexts each; an association has room for 128 (PS3.8 9.3.2.2)
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_ADDRESS = re.compile(r"dicom://([^@/]+)@(\[[0-9A-Fa-f:.]+\]|[^:/@?\[\]]+):([0-9]{1,5})/?(?:\?from=([^&]+))?")
_logger = logging.getLogger("radseg.send")


@dataclass(frozen=True)
class Peer:
    """An application entity to send to.

    Attributes:
        title: its AE title, the called one.
        host, port: where it listens.
        our_title: what we call ourselves.
    """

    title: str
    host: str
    port: int
    our_title: str = OUR_TITLE

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"dicom://{self.title}@{host}:{self.port}"


def parse_peer(address: str) -> Peer:
    """The application entity at `dicom://AET@HOST:PORT`, with `?from=AET` when it wants to know us by another title.

    Raises:
        ConfigError: not such an address.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ConfigError(
            f"{address[:200]!r} is no DICOM address; give dicom://AET@HOST:PORT, such as dicom://PACS@10.0.0.5:104"
        )
    ours = ae_title(unquote(match[4])) if match[4] else OUR_TITLE
    return Peer(ae_title(unquote(match[1])), match[2].strip("[]"), int(match[3]), ours)


def ae_title(text: str) -> str:
    """An application entity title without the spaces around it (PS3.5 6.2, VR AE).

    Raises:
        ConfigError: empty, longer than 16 characters, or with characters that a title can't have.
    """
    title = text.strip(" ")
    if not 1 <= len(title) <= 16 or not (title.isascii() and title.isprintable()) or "\\" in title:
        raise ConfigError(f"AE title {text[:40]!r}: must be 1 to 16 ASCII characters, without backslashes")
    return title


def load_pynetdicom() -> Any:
    """The package pynetdicom, kept from writing what passes over the network to any log.

    Raises:
        ConfigError: it isn't installed.
    """
    try:
        module = import_module("pynetdicom")
    except ImportError as error:
        raise ConfigError("DICOM networking needs pynetdicom; run: pip install 'radseg[listen]'") from error
    config: Any = import_module("pynetdicom._config")
    config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # its errors hold UIDs and tracebacks
    return module


def send(
    files: Sequence[Path],
    peer: str,
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Stores DICOM files at an archive, in their own transfer syntax where it takes that, else decompressed.

    An archive that can't be reached, breaks off or is out of resources is tried again after each of the pauses, with
    the files that it hasn't taken yet. A status that is a warning (PS3.4 B.2.3) is logged and counts as stored.

    Args:
        files: DICOM files.
        peer: `dicom://AET@HOST:PORT[?from=AET]`.
        pauses_s: seconds between attempts.
        sleep: waits that long.

    Raises:
        ConfigError: the address can't be used, or pynetdicom isn't installed.
        InputError: a file isn't DICOM, or the archive can't be reached or doesn't take one.
    """
    to = parse_peer(peer)
    module = load_pynetdicom()
    left = [_Outgoing.of(path) for path in files]
    for pause in (*pauses_s, None):
        if not left:
            return
        try:
            _send_over_one_association(module, left, to)
        except _TryAgainError as error:
            if pause is None:
                raise InputError(str(error)) from error
            sleep(pause)


class _TryAgainError(Exception):
    """What may go better the next time."""


@dataclass(frozen=True)
class _Outgoing:
    """A file to send: its SOP class and its transfer syntax."""

    path: Path
    sop_class: str
    syntax: str

    @classmethod
    def of(cls, path: Path) -> "_Outgoing":
        try:
            with quiet_pydicom():
                header = pydicom.dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID"], stop_before_pixels=True)
            if not header.SOPInstanceUID:
                raise ValueError("no SOPInstanceUID")
            return cls(path, str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID))
        except Exception as error:  # pydicom has no single error for a damaged file
            raise InputError(f"{path}: can't be sent, not readable as DICOM ({first_line(error)})") from error


def _send_over_one_association(module: Any, left: list[_Outgoing], to: Peer) -> None:
    """Sends what is left and takes each file off the list when it is stored."""
    kinds = dict.fromkeys((one.sop_class, one.syntax) for one in left)
    if len(kinds) > _MAX_KINDS:
        raise InputError(f"{len(kinds)} kinds of object to send at once; send at most {_MAX_KINDS}")
    entity = module.AE(ae_title=to.our_title)
    entity.maximum_pdu_size = MAX_PDU_BYTES
    entity.connection_timeout, entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = (
        _CONNECT_S,
        30,
        120,
        120,
    )
    contexts = [module.build_context(sop_class, syntax) for sop_class, syntax in kinds]
    contexts += [
        module.build_context(sop_class, list(_PLAIN)) for sop_class in dict.fromkeys(kind[0] for kind in kinds)
    ]
    _check_reachable(to)
    association = entity.associate(to.host, to.port, contexts=contexts, ae_title=to.title)
    try:
        _check_established(association, to)
        taken = {(cx.abstract_syntax, cx.transfer_syntax[0]) for cx in association.accepted_contexts}
        while left:
            _store(association, left[0], taken, to)
            left.pop(0)
    finally:
        if association.is_established:
            association.release()
        left_open = getattr(association.dul.socket, "socket", None)
        if left_open is not None:  # as pynetdicom does where the other end hangs up early
            left_open.close()


def _check_reachable(to: Peer) -> None:
    """Connects once beforehand: pynetdicom tells nobody why it couldn't, and leaves its socket open then."""
    try:
        socket.create_connection((to.host, to.port), _CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise _TryAgainError(f"{to}: can't be reached ({reason}); check the address and that it is running") from error


def _check_established(association: Any, to: Peer) -> None:
    if association.is_established:
        return
    if association.is_rejected:
        answer = association.acceptor.primitive
        source, diagnostic = answer.result_source, answer.diagnostic
        reason = _REJECTIONS.get((source, diagnostic), f"source {source}, reason {diagnostic}")
        said = f"{to}: the association was rejected: {reason.format(to=to)}"
        raise _TryAgainError(said) if answer.result == 2 else InputError(said)
    if association.rejected_contexts:
        raise InputError(f"{to}: takes none of the objects' kinds ({_names(association.rejected_contexts)})")
    raise _TryAgainError(f"{to}: doesn't answer as DICOM does; check the address and that it is running")


# PS3.8 table 9-21, (source, reason/diagnostic)
_REJECTIONS = {
    (1, 1): "no reason given",
    (1, 2): "it doesn't know the DICOM application context",
    (1, 3): "it doesn't know our AE title {to.our_title}; register it there, or add ?from=AET to the address",
    (1, 7): "its AE title isn't {to.title}; check the address",
    (2, 1): "no reason given",
    (2, 2): "it speaks another version of the protocol",
    (3, 1): "it is congested",
    (3, 2): "it has too many associations open",
}


def _store(association: Any, one: _Outgoing, taken: set[tuple[str, str]], to: Peer) -> None:
    """Sends one file over an open association."""
    with quiet_pydicom():
        dataset = pydicom.dcmread(one.path)
        if (one.sop_class, one.syntax) not in taken:
            plain = [syntax for syntax in _PLAIN if (one.sop_class, syntax) in taken]
            if not plain:
                name = pydicom.uid.UID(one.sop_class).name
                raise InputError(f"{to}: doesn't take {name}; have it enabled there")
            if dataset.file_meta.TransferSyntaxUID.is_compressed:
                dataset.decompress(generate_instance_uid=False)
        try:
            answer = association.send_c_store(dataset)
        except (RuntimeError, ValueError, AttributeError) as error:
            if not association.is_established:
                raise _TryAgainError(f"{to}: broke off; check that it is running") from error
            raise InputError(f"{one.path}: can't be sent ({first_line(error)})") from error
    if "Status" not in answer:
        raise _TryAgainError(f"{to}: broke off or didn't answer; check that it is running")
    _judge(int(answer.Status), one, to)


def _judge(status: int, one: _Outgoing, to: Peer) -> None:
    """Accepts a C-STORE status, or raises with its meaning in words."""
    if status == 0:
        return
    meaning = next((words for codes, words in _STATUSES if status in codes), "an unknown failure")
    if status in _WARNINGS:
        _logger.warning("%s: stored with a warning: %s (0x%04X)", to, meaning, status)
        return
    name = pydicom.uid.UID(one.sop_class).name
    said = f"{to}: didn't store the {name}: {meaning} (status 0x{status:04X})"
    raise _TryAgainError(said) if status in _FULL else InputError(said)


_FULL = range(0xA700, 0xA800)
_WARNINGS = (0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000))
# PS3.4 table B.2-1 and PS3.7 annex C
_STATUSES = (
    (_FULL, "it is out of resources"),
    (range(0xA900, 0xAA00), "the data set doesn't match its SOP class"),
    (range(0xC000, 0xD000), "it can't understand the data set"),
    ((0xB000,), "it coerced data elements"),
    ((0xB006,), "it discarded elements"),
    ((0xB007,), "the data set doesn't match its SOP class"),
    ((0x0001, 0x0107, 0x0116, *range(0xB001, 0xC000)), "it isn't content with some attributes"),
    ((0x0110,), "a failure in processing"),
    ((0x0111,), "a duplicate SOP instance"),
    ((0x0117,), "an invalid SOP instance UID"),
    ((0x0122,), "it doesn't support the SOP class"),
    ((0x0124,), "not authorised"),
    ((0x0210, 0x0211, 0x0212), "it didn't expect such a message"),
)


def _names(contexts: Sequence[Any]) -> str:
    return ", ".join(dict.fromkeys(context.abstract_syntax.name for context in contexts))
