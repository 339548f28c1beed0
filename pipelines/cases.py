"""Inputs to cases: which images a file, folder or zip holds, under which names, and why others in it were refused."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.destination import Destination
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images
from radseg.pipelines.io.local_copy import fetch_trouble, with_urls
from radseg.pipelines.io.remote_images import find_remote_images, list_inputs
from radseg.pipelines.io.storage_url import place, shown

__all__ = ["Case", "InputKind", "Refusal", "digest", "discover"]

_CHUNK = 1 << 20


def discover(
    inputs: Path | str | Sequence[Path | str],
    *,
    modality: str = "CT",
    min_slices: int = 1,
    series: str | None = None,
    accepts: Sequence[str] = tuple(InputKind),
    exclude: Path | str | None = None,
) -> Iterator[Case | Refusal]:
    """Find the images in files, folders (nested) and zips, local or at URLs, in a fixed order.

    DICOM files are recognised by content whatever their names, and grouped by SeriesInstanceUID over all inputs; every
    usable series is a case. A second case of one name gets `-` and six hex digits of SHA-256 of its relative path.
    Files of other kinds are passed over in folders and refused when named.

    Args:
        inputs: one or several files, folders or zips; each a path or a URL.
        modality: DICOM Modality that a series must have; "DX" is every kind of radiograph (DX, CR, RG), each image of
            which is a case.
        min_slices: the fewest slices that make a case.
        series: SeriesInstanceUID of the only series to take.
        accepts: kinds of image to take, all by default.
        exclude: a folder that isn't looked into, such as the one that results are written to.

    Raises:
        InputError: at once, when an input doesn't exist or there is none.
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
    found = find_images(roots, search)  # says at once if one isn't there
    anchors = [root.absolute() for root in roots]
    lone_folder = len(given) == 1 and roots == given and roots[0].is_dir()
    if len(roots) < len(given):
        remote = list_inputs([one for one in given if isinstance(one, str)], results.url if results else None)
        found = find_remote_images(remote, roots, search)
        anchors += [_anchor(one.url) for one in remote]
        lone_folder = len(given) == 1 and remote[0].is_folder
    base = Path(os.path.commonpath([anchor if lone_folder else anchor.parent for anchor in anchors]))
    return _named(found, base, Path(given[0]), series)


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
    taken = {"manifest.jsonl"}
    met = series is None
    uids: set[str] = set()
    for one in found:
        if one.series_uid is not None:
            uids.add(one.series_uid)
        met = met or one.series_uid == series
        if series is not None and one.series_uid != series:
            continue
        if isinstance(one, Case):
            name = one.name if one.name.strip(".") else "case"
            if name.lower() in taken:
                name += f"-{_hex(_relative(one, base), 6)}"
            taken.add(name.lower())
            one = replace(one, name=name)
        yield one
    if not met:
        yield Refusal(first, f"no usable series {series}; there are {', '.join(sorted(uids)) or 'none'}", None)


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


def _hex(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
