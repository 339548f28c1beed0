"""Images, labels and what was said of them, as files in a folder.

FOLDER/<image> is an image, FOLDER/labels/<tag>/<image's id>.<suffix> a label (MONAI Label's own layout), and
FOLDER/.radseg holds what was said of either. Nothing is kept in memory, so a server that is killed and started again,
and processes beside it, see the same.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag

from radseg.pipelines.errors import RadsegError, one_line
from radseg.pipelines.hiding import files_of, without_paths
from radseg.pipelines.label_server.durable import PART, as_json, copied, locked, write_whole
from radseg.pipelines.label_server.refused import Refused, not_there

IMAGES = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".dcm")
LABELS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_OLD_PART_SECONDS = 3600


class StoredFiles:
    """Where images, labels and what was said of them lie, and how they are replaced: whole or not at all.

    Args:
        folder: made where it isn't there.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear()

    @property
    def _lock(self) -> Path:
        return self.folder / ".radseg" / "lock"

    def _images(self) -> dict[str, Path]:
        """Image files by id; of two whose names differ in their suffix alone the first in the order of `IMAGES`."""
        found: dict[str, Path] = {}
        ranked = ((suffix_of(entry.name, IMAGES), entry) for entry in files_in(self.folder))
        for suffix, entry in sorted(
            ((suffix, entry) for suffix, entry in ranked if suffix is not None),
            key=lambda one: (IMAGES.index(one[0].lower()), one[1].name),
        ):
            found.setdefault(entry.name[: -len(suffix)], Path(entry.path))
        return found

    def _image(self, image_id: str) -> Path:
        image = self._images().get(image_id)
        if image is None:
            raise not_there(image_id)
        return image

    def _tags(self) -> list[str]:
        folder = self.folder / "labels"
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and _TAG.fullmatch(entry.name))

    def _labels(self, tag: str) -> dict[str, Path]:
        """Label files of a tag by image id; of two the latest, an interrupted replacement having left the other."""
        found: dict[str, tuple[int, Path]] = {}
        for entry in files_in(self.folder / "labels" / checked_tag(tag)):
            suffix = suffix_of(entry.name, LABELS)
            if suffix is None:
                continue
            image, changed = entry.name[: -len(suffix)], entry.stat().st_mtime_ns
            if image not in found or found[image][0] < changed:
                found[image] = changed, Path(entry.path)
        return {image: path for image, (_, path) in found.items()}

    def _keep(self, image_id: str, tag: str, suffix: str, label: Path, info: Mapping[str, Any]) -> None:
        place = self.folder / "labels" / tag / f"{image_id}{suffix}"
        said = {**info, "ts": int(time.time()), "name": place.name}
        with locked(self._lock):
            if image_id not in self._images():  # it may have been removed while the label was checked
                raise not_there(image_id)
            write_whole({place: copied(label), self._label_info(image_id, tag): as_json(said)})
            for other in LABELS:
                if other != suffix:
                    place.with_name(f"{image_id}{other}").unlink(missing_ok=True)

    def _remove(self, image_id: str, tag: str) -> None:
        for suffix in LABELS:
            (self.folder / "labels" / tag / f"{image_id}{suffix}").unlink(missing_ok=True)
        self._label_info(image_id, tag).unlink(missing_ok=True)

    def _image_info(self, image_id: str) -> Path:
        return self.folder / ".radseg" / "images" / f"{image_id}.json"

    def _label_info(self, image_id: str, tag: str) -> Path:
        return self.folder / ".radseg" / "labels" / checked_tag(tag) / f"{image_id}.json"

    def _said(self, file: Path) -> dict[str, Any]:
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _add(self, file: Path, info: Mapping[str, Any]) -> None:
        with self._refusing(file.stem, file, "the information"), locked(self._lock):
            write_whole({file: as_json({**self._said(file), **info})})

    def _clear(self) -> None:
        """Deletes what a killed server left half-written."""
        for part in [*self.folder.glob(f".*{PART}"), *self.folder.glob(f"labels/*/.*{PART}")]:
            if time.time() - part.stat().st_mtime > _OLD_PART_SECONDS:
                part.unlink(missing_ok=True)

    @contextmanager
    def _refusing(self, image_id: str, submitted: Path, what: str, image: Path | None = None) -> Iterator[None]:
        """Turns what goes wrong with a submitted file, or with the image that it is for, into pathless refusals."""
        try:
            yield
        except Refused:
            raise
        except (RadsegError, OSError) as error:
            if image is not None and not image.exists():
                raise not_there(image_id) from error
            if isinstance(error, OSError):
                why = f"can't be written ({error.strerror}), nothing was changed"
                raise Refused(507, f"{what} of {image_id!r} {why}; free some space on the server") from error
            line = without_paths(one_line(error), [submitted], what)
            raise Refused(422, without_paths(line, files_of(image), image_id) if image else line) from error


def files_in(folder: Path) -> list[os.DirEntry[str]]:
    """The files in a folder whose names don't begin with a dot."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    except FileNotFoundError:
        return []


def suffix_of(name: str, known: tuple[str, ...]) -> str | None:
    """The suffix of a file's name as it is written there, if it is one of those known."""
    for suffix in known:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[-len(suffix) :]
    return None


def checked_tag(tag: str) -> str:
    """A tag that can be a folder's name.

    Raises:
        Refused: it can't.
    """
    text = tag.value if isinstance(tag, DefaultLabelTag) else str(tag)
    if not _TAG.fullmatch(text):
        raise Refused(422, "a tag is made of letters, digits, _ and -, such as final")
    return text
