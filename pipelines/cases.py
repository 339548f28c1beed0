"""Inputs to cases: which images a file, folder or zip holds, under which names, and why others in it were refused."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images

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
    """Find the images in files, folders (nested) and zips, in a fixed order.

    DICOM files are recognised by content whatever their names, and grouped by SeriesInstanceUID over all inputs; every
    usable series is a case. A second case of one name gets `-` and six hex digits of SHA-256 of its relative path.
    Files of other kinds are passed over in folders and refused when named.

    Args:
        inputs: one or several files, folders or zips.
        modality: DICOM Modality that a series must have.
        min_slices: the fewest slices that make a case.
        series: SeriesInstanceUID of the only series to take.
        accepts: kinds of image to take, all by default.
        exclude: a folder that isn't looked into, such as the one that results are written to.

    Raises:
        InputError: at once, when an input doesn't exist or there is none.
    """
    roots = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(one) for one in inputs]
    if not roots:
        raise InputError("no input given; name a file, folder or zip")
    search = Search(
        modality, min_slices, series, frozenset(InputKind(kind) for kind in accepts), Path(exclude) if exclude else None
    )
    return _named(find_images(roots, search), roots, series)


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
            raise InputError(f"{path}: can't be read ({error.strerror}); check its permissions") from error
    return total.hexdigest()


def _named(found: Iterator[Case | Refusal], roots: Sequence[Path], series: str | None) -> Iterator[Case | Refusal]:
    """Make case names unique, and say so when the wanted series isn't there."""
    lone_folder = len(roots) == 1 and roots[0].is_dir()
    folders = [root.absolute() if lone_folder else root.absolute().parent for root in roots]
    base = Path(os.path.commonpath(folders))
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
        yield Refusal(roots[0], f"no usable series {series}; there are {', '.join(sorted(uids)) or 'none'}", None)


def _relative(case: Case, base: Path) -> str:
    """Where a case lies below the inputs, the same on every machine."""
    if case.unpacked is not None:
        inside = case.files[0].relative_to(case.unpacked.path)
        return (Path(os.path.relpath(case.source.absolute(), base)) / inside).as_posix()
    return Path(os.path.relpath(case.files[0].absolute(), base)).as_posix()


def _hex(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
