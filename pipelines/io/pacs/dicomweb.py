"""A DICOMweb server: its studies, series and instances listed (QIDO), fetched (WADO) and new ones stored (STOW)."""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.pacs.dicomweb_answer import answer_to, content_of, instance_in
from radseg.pipelines.io.pacs.dicomweb_keys import SERIES_KEYS, STUDY_KEYS, matches, query_text, values_of
from radseg.pipelines.io.pacs.dicomweb_session import Attempts, Patience, open_session
from radseg.pipelines.io.pacs.dicomweb_url import DicomwebUrl, is_uid, parse
from radseg.pipelines.io.pacs.multipart import CutOffError, FileAsMultipart, boundary_of, only_part
from radseg.pipelines.io.store.settings import current_storage

PAGE = 100
"""Answers that are asked for at a time; servers may give fewer."""

_ALREADY_THERE = 0x0111  # Duplicate SOP Instance, PS3.7 C.5.1
_REASONS = {
    0x0110: "processing failure",
    0x0122: "SOP class not supported",
    0xA700: "out of resources",
    0xA900: "the data set doesn't match the SOP class",
    0xC000: "the data set isn't understood",
}


class DicomwebServer:
    """What a DICOMweb URL leads to; a context that closes the connections.

    Args:
        url: parsed.
        patience: with what may pass.

    Attributes:
        untold: keywords that were asked for and that an answer had no value of.

    Raises:
        ConfigError: the credentials can't be used.
    """

    def __init__(self, url: DicomwebUrl, patience: Patience | None = None) -> None:
        self.url = url
        self.untold: set[str] = set()
        self.session = open_session(url)
        self.attempts = Attempts(url.said, patience or Patience())

    def __enter__(self) -> "DicomwebServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def studies(self) -> Iterator[dict[str, Any]]:
        """The studies that are asked for, as DICOM JSON; raises as `Attempts`."""
        asked = dict(self.url.study_keys)
        sent = dict(asked)
        modality = dict(self.url.series_keys).get("Modality")
        if modality and "ModalitiesInStudy" not in asked:
            sent["ModalitiesInStudy"] = modality  # narrows the list; the series are looked at one by one
        yield from self._listed("studies", "StudyInstanceUID", "/studies", sent, asked)

    def series(self, study: str) -> Iterator[dict[str, Any]]:
        """The series of a study that are asked for, as DICOM JSON; raises as `Attempts`."""
        asked = dict(self.url.series_keys)
        if self.url.series:
            asked["SeriesInstanceUID"] = self.url.series
        yield from self._listed("series", "SeriesInstanceUID", f"/studies/{study}/series", asked, asked)

    def instances(self, study: str, series: str) -> list[str]:
        """SOPInstanceUID of every instance of a series; raises as `Attempts`."""
        path = f"/studies/{study}/series/{series}/instances"
        return [
            values_of(one, "SOPInstanceUID")[0] for one in self._listed("instances", "SOPInstanceUID", path, {}, {})
        ]

    def fetch(self, study: str, series: str, instance: str, target: Path) -> None:
        """Writes an instance, encoded as the server has it, to a file that is there only when it is whole.

        Raises:
            InputError: as `Attempts`, or no space is left.
        """
        address = f"{self.url.base}/studies/{study}/series/{series}/instances/{instance}"
        part = target.with_name(f"{target.name}.part")

        def get() -> None:
            accepted = 'multipart/related; type="application/dicom"; transfer-syntax=*'
            with answer_to(self.session, self.url.said, "GET", address, {"Accept": accepted}) as answer:
                answer.raise_for_status()
                boundary = boundary_of(answer.headers.get("Content-Type", ""))
                chunks = instance_in(answer, self.url.said)
                _write(part, only_part(chunks, boundary) if boundary else chunks)
            with part.open("rb") as file:
                if file.read(132)[128:] != b"DICM":
                    raise CutOffError

        try:
            self.attempts("downloading", get)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)

    def store(self, file: Path) -> None:
        """Stores one DICOM file; one that is already there is well.

        Raises:
            InputError: as `Attempts`, the file can't be read, or the server doesn't take it, with the reason.
        """
        address = f"{self.url.base}/studies" + (f"/{self.url.study}" if self.url.study else "")

        where = self.url.said

        def post() -> tuple[int, list[int] | None]:
            boundary = uuid.uuid4().hex
            headers = {
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
            }
            try:
                body = FileAsMultipart(file, boundary)
            except OSError as error:
                raise InputError(f"{file.name}: can't be read ({error.strerror}); check its permissions") from error
            with body, answer_to(self.session, where, "POST", address, headers, body) as answer:
                codes = _failures(content_of(answer, where))
                if answer.status_code not in (200, 202) and not (answer.status_code < 500 and codes):
                    answer.raise_for_status()
                return int(answer.status_code), codes

        status, codes = self.attempts(f"storing {file.name}", post)
        if codes is None and status != 200:
            raise InputError(f"{where}: the server doesn't say whether it stored {file.name}; look at its log")
        failed = [code for code in codes or () if code != _ALREADY_THERE]
        if failed:
            reason = f"{_REASONS[failed[0]]}, " if failed[0] in _REASONS else ""
            raise InputError(
                f"{where}: the server didn't store {file.name} ({reason}reason code {failed[0]:04X}H); look at its log"
            )

    def _listed(
        self, what: str, uid_keyword: str, path: str, sent: dict[str, str], asked: dict[str, str]
    ) -> Iterator[dict[str, Any]]:
        """Answers to a search, each once, page by page, but those that a server gives although they don't match."""
        fields = [*sent, "Modality", "NumberOfSeriesRelatedInstances"] if what == "series" else list(sent)
        included = "".join(f"includefield={keyword}&" for keyword in dict.fromkeys(fields))
        query, guarded = (f"&{query_text(sent, guarded=how)}" if sent else "" for how in (False, True))
        met: set[str] = set()
        given = 0
        while True:
            page = self._page(what, f"{path}?{included}limit={PAGE}&offset={given}{query}")
            if not page and given == 0 and query != guarded:
                query = guarded
                continue
            fresh = []
            for answer in page:
                uid = next(iter(values_of(answer, uid_keyword)), "")
                if not is_uid(uid):
                    raise InputError(f"{self.url.said}: listing {what} gave one without a valid {uid_keyword}")
                if uid not in met:
                    met.add(uid)
                    fresh.append(answer)
            if page and not fresh and len(page) == PAGE:
                raise InputError(
                    f"{self.url.said}: the server gives {PAGE} {what} at most and repeats them; narrow the query"
                )
            for answer in fresh:
                if all(self._has(answer, keyword, value) for keyword, value in asked.items()):
                    yield answer
            if not fresh:
                return
            given += len(page)

    def _page(self, what: str, path_and_query: str) -> list[dict[str, Any]]:
        def get() -> Any:
            address, headers = f"{self.url.base}{path_and_query}", {"Accept": "application/dicom+json"}
            with answer_to(self.session, self.url.said, "GET", address, headers) as answer:
                answer.raise_for_status()
                text = content_of(answer, self.url.said)
            content = json.loads(text) if text else []
            if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
                raise ValueError
            return content

        return list(self.attempts(f"listing {what}", get))

    def _has(self, answer: dict[str, Any], keyword: str, value: str) -> bool:
        """Whether an answer is one that was asked for: servers leave out keys that they don't know."""
        values = values_of(answer, keyword)
        if not values:
            self.untold.add(keyword)
        return matches({**STUDY_KEYS, **SERIES_KEYS}[keyword], value, values)


def store(url: str, files: Sequence[Path], *, patience: Patience | None = None) -> None:
    """Stores DICOM files on a DICOMweb server (STOW-RS, PS3.18 section 10.5), one request each.

    Files that are already there count as stored, so that the same files can be sent again after trouble.

    Args:
        url: of the service, or of the study that all files belong to.
        files: DICOM files.
        patience: with what may pass.

    Raises:
        ConfigError: the URL names no place to store at, or the credentials or the certificate are wrong.
        InputError: a file isn't DICOM, or the server can't be reached or doesn't take it, with its reason.
    """
    where = store_address(url)
    for file in files:
        try:
            with file.open("rb") as stream:
                is_dicom = stream.read(132)[128:] == b"DICM"
        except OSError as error:
            raise InputError(f"{file}: can't be read ({error.strerror}); check the path") from error
        if not is_dicom:
            raise InputError(f"{file}: is no DICOM file (PS3.10); only those can be stored")
    with DicomwebServer(where, patience) as server:
        for file in files:
            server.store(file)


def store_address(url: str) -> DicomwebUrl:
    """A DICOMweb URL that files can be stored at: of a service or of a study.

    Raises:
        ConfigError: it isn't.
    """
    where = parse(url)
    if where.series or where.study_keys or where.series_keys:
        raise ConfigError(f"{where.said}: results can't be stored there; give the service's address or a study's")
    return where


def _failures(answer: bytes) -> list[int] | None:
    """The reason codes of what wasn't stored (PS3.18 section 10.5.3); None when the answer can't be read."""
    try:
        content = json.loads(answer)
        failed = content.get("00081198", {}).get("Value") or []
        return [int(item["00081197"]["Value"][0]) for item in failed]
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        return None


def _write(target: Path, pieces: Iterable[bytes]) -> None:
    with on_disk():
        file = target.open("wb")
    try:
        for piece in pieces:
            with on_disk():
                file.write(piece)
    finally:
        with on_disk():
            file.close()


@contextmanager
def on_disk() -> Iterator[None]:
    """Tells trouble with the disk from trouble with the server, whose errors are OSErrors too.

    Raises:
        InputError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        folder = current_storage().cache_folder
        raise InputError(
            f"the download can't be written below {folder} ({error.strerror}); free some space or set "
            "--storage#cache_dir DIR"
        ) from error
