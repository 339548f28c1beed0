"""Inputs to cases: which images a file, folder or zip holds, under which names, and why others in it were refused."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images
from radseg.pipelines.io.pacs.dicomweb_url import is_dicomweb, parse
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.io.store.local_copy import fetch_trouble, with_urls
from radseg.pipelines.io.store.remote_images import find_remote_images, list_inputs
from radseg.pipelines.io.store.url import place, shown

__all__ = ["Case", "Discovery", "InputKind", "Refusal", "digest", "discover"]

_CHUNK = 1 << 20
_ENDS = 5  # of file names, told at most


def discover(
    inputs: Path | str | Sequence[Path | str],
    *,
    modality: str = "CT",
    min_slices: int = 1,
    series: str | None = None,
    accepts: Sequence[str] = tuple(InputKind),
    exclude: Path | str | None = None,
) -> "Discovery":
    """Find the images in files, folders (nested), zips and archives, in a fixed order, each when it is asked for.

    DICOM files are recognised by content whatever their names, and grouped by SeriesInstanceUID in folders that are
    read one after the other, over all inputs (`find_images` has the rule); every usable series, or stack of slices in
    one, is a case. A second case of one name gets `-` and six hex digits of SHA-256 of its relative path, or as many
    more as make it unique. Files of other kinds are passed over in folders and refused when named.

    Args:
        inputs: one or several files, folders or zips, each a path or a URL, and studies, series or queries of a
            DICOMweb server (`dicomweb+https://…`, see `find_dicomweb`).
        modality: DICOM Modality that a series must have; "DX" is every kind of radiograph (DX, CR, RG), each image of
            which is a case.
        min_slices: the fewest slices that make a case.
        series: SeriesInstanceUID of the only series to take.
        accepts: kinds of image to take, all by default.
        exclude: a folder that isn't looked into, such as the one that results are written to.

    Raises:
        InputError: at once, when an input doesn't exist or there is none, or a server can't be reached; later, when it
            can't be reached any more.
        ConfigError: at once, when a URL isn't of a known form, or credentials are missing or wrong.
    """
    given = [place(one) for one in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    if not given:
        raise InputError("no input given; name a file, folder or zip")
    results = Destination(exclude) if exclude else None
    search = Search(
        modality,
        min_slices,
        series,
        frozenset(InputKind(kind) for kind in accepts),
        None if results is None or results.url else results.local,
    )
    roots = [one for one in given if isinstance(one, Path)]
    discovery = Discovery()
    found = find_images(
        roots, search, discovery.has_come_to, discovery.has_passed_over
    )  # says at once if one isn't there
    anchors = [root.absolute() for root in roots]
    lone_folder = len(given) == 1 and roots == given and roots[0].is_dir()
    archives = [one for one in given if isinstance(one, str) and is_dicomweb(one)]
    stores = [one for one in given if isinstance(one, str) and not is_dicomweb(one)]
    if stores:
        remote = list_inputs(stores, results.url if results else None)
        found = find_remote_images(remote, roots, search)
        anchors += [_anchor(one.url) for one in remote]
        lone_folder = len(given) == 1 and remote[0].is_folder
    if archives:
        from radseg.pipelines.io.pacs.dicomweb_images import find_dicomweb

        found = chain(found, find_dicomweb(archives, search))
        anchors += [_anchor(one) for one in archives]
    base = Path(os.path.commonpath([anchor if lone_folder else anchor.parent for anchor in anchors]))
    discovery.cases = _named(found, base, Path(_told(given[0])), series)
    return discovery


class Discovery(Iterator[Case | Refusal]):
    """The cases and refusals of a search, as they are found.

    Attributes:
        share: how much of the search, 0 to 1, lies behind the latest; only of local inputs known before its end.
        passed_over: how many files in local folders were no images, by the ends of their names.
    """

    def __init__(self) -> None:
        self.cases: Iterator[Case | Refusal] = iter(())
        self.share = 0.0
        self.passed_over: Counter[str] = Counter()

    def __next__(self) -> Case | Refusal:
        try:
            return next(self.cases)
        except StopIteration:
            self.share = 1.0
            raise

    def has_come_to(self, share: float) -> None:
        """The search has this share behind it."""
        self.share = share

    def has_passed_over(self, file: Path) -> None:
        """The search has met a file that is no image of the kinds looked for."""
        self.passed_over[file.suffix.lower() or "no ending"] += 1

    @property
    def note(self) -> str:
        """What is to be said of files that were passed over; "" where there were none."""
        count = self.passed_over.total()
        ends = ", ".join(sorted(self.passed_over)[:_ENDS]) + (", …" if len(self.passed_over) > _ENDS else "")
        files = "files in the folders are no images" if count > 1 else "file in the folders is no image"
        return f"{count} {files} that can be taken here: passed over ({ends})" if count else ""


def digest(case: Case) -> str:
    """SHA-256 (hex) over the contents of the case's files, in order.

    Raises:
        InputError: a file can't be read.
    """
    total = hashlib.sha256()
    for path in case.files:
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    total.update(chunk)
        except OSError as error:
            reason = f"{path}: can't be read ({error.strerror}); check its permissions"
            raise InputError(fetch_trouble(path) or reason) from error
    return total.hexdigest()


def _named(found: Iterator[Case | Refusal], base: Path, first: Path, series: str | None) -> Iterator[Case | Refusal]:
    """Make case names unique, and say so when the wanted series isn't there."""
    taken = {"manifest.jsonl", "summary.csv", "index.html"}
    met = series is None
    uids: set[str] = set()
    for one in found:
        if one.series_uid is not None and series is not None:
            uids.add(one.series_uid)
        met = met or one.series_uid == series
        if series is not None and one.series_uid != series:
            continue
        if isinstance(one, Case):
            name = one.name if one.name.strip(".") else "case"
            if name.lower() in taken:
                hashed = _sha256(_relative(one, base))
                tries = (f"{name}-{hashed[:digits]}" for digits in range(6, len(hashed) + 1, 2))
                name = next((unique for unique in tries if unique.lower() not in taken), f"{name}-{len(taken)}")
            taken.add(name.lower())
            one = replace(one, name=name)
        yield one
    if not met:
        yield Refusal(first, f"no usable series {series}; there are {', '.join(sorted(uids)) or 'none'}", None)


def _told(where: Path | str) -> Path | str:
    """A path, or a URL without what may be secret or name a patient in it."""
    if isinstance(where, Path):
        return where
    return parse(where).shown if is_dicomweb(where) else shown(where)


def _relative(case: Case, base: Path) -> str:
    """Where a case lies below the inputs, the same on every machine."""
    file, source = _anchor(case.files[0]), _anchor(case.source)
    if case.unpacked is not None and not case.source.is_relative_to(case.unpacked.path):  # in a zip
        return (Path(os.path.relpath(source, base)) / case.files[0].relative_to(case.unpacked.path)).as_posix()
    return Path(os.path.relpath(file, base)).as_posix()


def _anchor(where: Path | str) -> Path:
    """An absolute path, in which a URL lies below the root; a local copy lies where its original does."""
    url = place(with_urls(where))
    return Path("/", shown(url)) if isinstance(url, str) else Path(where).absolute()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
