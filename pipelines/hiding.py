"""Paths taken out of what is told: a file's or folder's name may be a patient's."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from radseg.pipelines.io.find_images import Case
from radseg.pipelines.io.store.local_copy import with_urls


def without_paths(text: str, paths: Iterable[Path], stand_in: str) -> str:
    """The text with a stand-in for each of the paths, for their folders, and for their names as whole words."""
    known = sorted({*paths, *(path.parent for path in paths)}, key=lambda path: -len(str(path)))
    for path in known:
        text = text.replace(with_urls(path), stand_in).replace(str(path), stand_in)
    for name in sorted({path.name for path in known if path.name}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", stand_in, text)
    return text


def without_folders(text: str, case: Case) -> str:
    """What is recorded of a reason: its files by their names alone, the folder or zip of a case by the case's name."""
    folders = {as_zipped(with_urls(folder), case) for folder in (case.source, *(path.parent for path in case.files))}
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "")
    if case.source not in case.files:
        text = text.replace(with_urls(case.source), case.name)
    return text.replace(f"{with_urls(case.source.parent)}{os.sep}", "")


def as_zipped(text: str, case: Case) -> str:
    """A text that calls what was unpacked of a zip by its path inside the zip."""
    if case.unpacked is None or case.source.is_relative_to(case.unpacked.path):  # that was downloaded, not unpacked
        return text
    return text.replace(str(case.unpacked.path), with_urls(case.source))


def files_of(source: Path) -> list[Path]:
    """A file or folder and what lies directly in it, whose names a reason may have."""
    return [source, *source.iterdir()] if source.is_dir() else [source]
