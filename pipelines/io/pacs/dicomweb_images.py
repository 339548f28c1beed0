"""The images of a PACS: series are looked up by DICOMweb, and each is downloaded when its turn comes."""

import hashlib
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError, InputError, RadsegError
from radseg.pipelines.io.archive import UnpackedFolder
from radseg.pipelines.io.dicom.header import RADIOGRAPH_MODALITIES
from radseg.pipelines.io.dicom.radiograph import wants_radiographs
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images
from radseg.pipelines.io.pacs.dicomweb import DicomwebServer, on_disk
from radseg.pipelines.io.pacs.dicomweb_keys import values_of
from radseg.pipelines.io.pacs.dicomweb_session import AT_ONCE, GoneError, Patience
from radseg.pipelines.io.pacs.dicomweb_url import PREFIX, DicomwebUrl, parse
from radseg.pipelines.io.store.local_copy import note_fetch_trouble, scratch, stands_for


def find_dicomweb(urls: Sequence[str], search: Search, *, patience: Patience | None = None) -> Iterator[Case | Refusal]:
    """Cases and refusals of studies, series and queries on DICOMweb servers, one series after the other.

    A series is downloaded into a private folder, which lasts as long as its cases, and its cases are yielded before
    the next series is. Series of other modalities aren't downloaded; only where a URL leads to no usable series, one
    refusal says what was passed over. A series that can't be downloaded is a case all the same, one that can't be read
    (`fetch_trouble` says why), since another run may have more luck; of radiographs, each image is.

    Args:
        urls: such as `dicomweb+https://host/dicom-web/studies/UID`; see `dicomweb_url.parse`.
        search: what is looked for.
        patience: with what may pass.

    Raises:
        ConfigError: at once, when a URL isn't of a known form, or credentials or a certificate are wrong; later, when
            a server doesn't take the credentials any more.
        InputError: at once, when there is no such study or series, or the server can't be reached; later, when a
            server can't be reached any more, after what the others have.
    """
    inputs = [_Input.of(parse(url), patience) for url in dict.fromkeys(urls)]
    for one in inputs:
        one.look()
    return _find(inputs, search)


def _find(inputs: Sequence["_Input"], search: Search) -> Iterator[Case | Refusal]:
    with ExitStack() as stack:
        for one in inputs:
            stack.enter_context(one.server)
        met: set[tuple[str, str]] = set()
        trouble: RadsegError | None = None
        for one in inputs:
            try:
                yield from one.cases(search, met)
            except RadsegError as error:
                trouble = trouble or error  # another server may still be well
        if trouble is not None:
            raise trouble


@dataclass
class _Input:
    """A URL among the inputs.

    Attributes:
        url: parsed.
        server: that it leads to.
        root: local folder that stands for the service; series lie below it as they do in URLs.
        listed: StudyInstanceUID and description of the series there, listed when they are asked for.
        passed_over: how many series of each other modality were met.
    """

    url: DicomwebUrl
    server: DicomwebServer
    root: Path
    listed: Iterator[tuple[str, dict[str, Any]]] = field(default_factory=lambda: iter(()))
    passed_over: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, url: DicomwebUrl, patience: Patience | None) -> "_Input":
        if not (url.study or url.study_keys or url.series_keys):
            raise ConfigError(f"{url.said}: names everything on the server; add /studies/UID or a query ?KEY=VALUE")
        server = DicomwebServer(url, patience)
        root = Path(tempfile.mkdtemp(dir=scratch())) / "dicomweb"
        stands_for(root, PREFIX + url.base)
        return cls(url, server, root)

    @property
    def place(self) -> Path:
        """The local place that stands for the URL."""
        return self._place(self.url.study, self.url.series)

    def look(self) -> None:
        """Lists the first series, so that a wrong address is told at once."""
        listed = self._series()
        first = next(listed, None)
        if first is None and self.url.study:
            which = "series" if self.url.series else "study"
            raise InputError(f"{self.url.said}: the server has no such {which}, or nothing in it; check the UID")
        self.listed = chain([first] if first else [], listed)

    def cases(self, search: Search, met: set[tuple[str, str]]) -> Iterator[Case | Refusal]:
        """Cases and refusals; `met` holds the service and UID of the series that another input has had."""
        if InputKind.DICOM not in search.accepts:
            yield Refusal(self.place, f"DICOM series isn't taken here; give {search.said}")
            return
        wanted = RADIOGRAPH_MODALITIES if wants_radiographs(search.modality) else (search.modality,)
        usable = False
        for study, answer in self.listed:
            series = values_of(answer, "SeriesInstanceUID")[0]
            modality = (values_of(answer, "Modality") or [""])[0].upper()
            if modality and modality not in wanted:
                # shown, so what is no code string (PS3.5 6.2) isn't
                self.passed_over[modality if re.fullmatch("[A-Z0-9_ ]{1,16}", modality) else "others"] += 1
                continue
            usable = True
            if (self.url.base, series) in met:
                continue
            met.add((self.url.base, series))
            if search.series not in (None, series):
                yield Refusal(self._place(study, series), "another series was asked for", series)
                continue
            found = self._from_series(study, series, answer, search)
            while found:
                yield found.pop(0)  # held no longer, so that the folder goes with its cases
        if not usable:
            yield Refusal(self.place, self._nothing("radiograph" if len(wanted) > 1 else search.modality))

    def _series(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.url.study:
            studies = iter([self.url.study])
        else:
            studies = (values_of(answer, "StudyInstanceUID")[0] for answer in self.server.studies())
        for study in studies:
            for answer in self.server.series(study):
                yield study, answer

    def _from_series(self, study: str, series: str, answer: dict[str, Any], search: Search) -> list[Case | Refusal]:
        place = self._place(study, series)
        holder = UnpackedFolder(place)
        holder.remove_when_unused()
        each = wants_radiographs(search.modality)
        found: list[Case | Refusal] = []
        try:
            failed = self._download(study, series, answer, place / "instances", go_on=each)
        except GoneError:
            raise
        except InputError as error:
            return [self._unfetched(place, series, error, holder)]
        for instance, trouble in sorted(failed.items()):
            found.append(self._unfetched(place / "instances" / instance, series, trouble, holder, instance))
        for one in find_images([place], search) if any((place / "instances").iterdir()) else ():
            source = place
            if isinstance(one, Case) and one.instance_uid is not None:
                source = one.source.with_suffix("")  # the instance's own address
            if isinstance(one, Case):
                found.append(replace(one, source=source, unpacked=holder))
            else:
                found.append(replace(one, source=source, series_uid=one.series_uid or series))
        return found

    def _unfetched(
        self, source: Path, series: str, error: InputError, holder: UnpackedFolder, instance: str | None = None
    ) -> Case:
        """A case that can't be read, named as it would be if it could."""
        missing = source.with_name(f"{source.name}.dcm")
        reason = str(error).removeprefix(f"{self.server.attempts.where}: ")
        note_fetch_trouble(missing, f"{source}: {reason}")
        name = hashlib.sha256((instance or series).encode()).hexdigest()[:12]
        return Case(name, InputKind.DICOM, (missing,), source, series, unpacked=holder, instance_uid=instance)

    def _download(
        self, study: str, series: str, answer: dict[str, Any], folder: Path, *, go_on: bool
    ) -> dict[str, InputError]:
        """Writes the instances of a series into a new folder, several at a time.

        Returns:
            What couldn't be had, if it goes on with the others then, and why.
        """
        instances = self.server.instances(study, series)
        told = (values_of(answer, "NumberOfSeriesRelatedInstances") or ["0"])[0]
        if re.fullmatch("[0-9]{1,9}", told) and len(instances) < int(told):
            raise InputError(f"the server has {told} instances of the series and lists {len(instances)}; start again")
        with on_disk():
            folder.mkdir(mode=0o700, parents=True)
        failed: dict[str, InputError] = {}
        stopped = threading.Event()

        def fetch(instance: str) -> None:
            if stopped.is_set():
                return
            try:
                self.server.fetch(study, series, instance, folder / f"{instance}.dcm")
            except Exception as error:
                if not (go_on and isinstance(error, InputError)) or isinstance(error, GoneError):
                    stopped.set()
                    raise
                failed[instance] = error

        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for job in [pool.submit(fetch, instance) for instance in instances]:
                    job.result()
            finally:  # also on Ctrl-C, which only this thread hears
                stopped.set()
        return failed

    def _place(self, study: str | None, series: str | None) -> Path:
        place = self.root / "studies" / study if study else self.root
        return place / "series" / series if series else place

    def _nothing(self, wanted: str) -> str:
        passed = ", ".join(f"{count} {modality}" for modality, count in sorted(self.passed_over.items()))
        keys = [keyword for keyword, _ in (*self.url.study_keys, *self.url.series_keys)]
        where = f" matches the query by {', '.join(keys)}" if keys else " in the study"
        untold = sorted(self.server.untold)
        return (
            f"no {wanted} series{where}"
            + (f"; passed over: {passed}" if passed else "")
            + (f"; the server tells no {', '.join(untold)} of what it has" if untold and not passed else "")
            + "; check the address or the query"
        )
