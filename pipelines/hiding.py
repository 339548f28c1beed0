"""Paths taken out of what is told: a file's or folder's name may be a patient's."""

import re
from collections.abc import Iterable
from pathlib import Path

from radseg.pipelines.io.local_copy import with_urls


def without_paths(text: str, paths: Iterable[Path], stand_in: str) -> str:
    """The text with a stand-in for each of the paths, for their folders, and for their names as whole words."""
    known = sorted({*paths, *(path.parent for path in paths)}, key=lambda path: -len(str(path)))
    for path in known:
        text = text.replace(with_urls(path), stand_in).replace(str(path), stand_in)
    for name in sorted({path.name for path in known if path.name}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", stand_in, text)
    return text


def files_of(source: Path) -> list[Path]:
    """A file or folder and what lies directly in it, whose names a reason may have."""
    return [source, *source.iterdir()] if source.is_dir() else [source]
