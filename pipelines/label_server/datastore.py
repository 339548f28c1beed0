"""The local datastore: a folder of images and, below it, the labels that were submitted; the files are the index.

FOLDER/<image> is an image, FOLDER/labels/<tag>/<image's id>.<suffix> a label (MONAI Label's own layout), and
FOLDER/.radseg holds what was said of either. Nothing is kept in memory, so a server that is killed and started again,
and processes beside it, see the same.
"""

import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from radseg.pipelines.errors import RadsegError, one_line
from radseg.pipelines.hiding import files_of, without_paths
from radseg.pipelines.io import load_volume
from radseg.pipelines.label_server.durable import PART, as_json, copied, locked, write_whole
from radseg.pipelines.label_server.grid import Grids
from radseg.pipelines.label_server.refused import Refused, not_there

IMAGES = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".dcm")
LABELS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
FINAL = DefaultLabelTag.FINAL.value
_ID = re.compile(r"\w[\w.()+ -]{0,127}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_OLD_PART_SECONDS = 3600


class LabelStore(Datastore):
    """A folder of images and their labels.

    Args:
        folder: made where it isn't there.
        most_label: highest value that a submitted label may hold; None allows any.
    """

    def __init__(self, folder: Path | str, most_label: int | None = None) -> None:
        self.folder = Path(folder).absolute()
        self.most_label = most_label
        self.grids = Grids()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear()

    # what MONAI Label asks of a datastore

    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def set_name(self, name: str) -> None:
        """Refused: the folder's name is the name."""
        raise Refused(405, "the datastore is called by its folder; rename that")

    def description(self) -> str:
        """What kind of datastore it is."""
        return "images in a folder"

    def set_description(self, description: str) -> None:
        """Refused: there is nothing to describe."""
        raise Refused(405, "the datastore has no description to set")

    def datalist(self) -> list[dict[str, Any]]:
        """Paths of all images with a final label, and of the label; the patient, if an image's information has it."""
        images = self._images()
        labels = self._labels(FINAL)
        pairs = []
        for image in sorted(images.keys() & labels.keys()):
            patient = self._said(self._image_info(image)).get("patient")
            known = {"patient": str(patient)} if patient else {}
            pairs.append({"image": str(images[image]), "label": str(labels[image]), **known})
        return pairs

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """The image's id under each tag that it has a label of."""
        return {tag: image_id for tag in self._tags() if image_id in self._labels(tag)}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The image's id if it has a label of this tag, else ""."""
        return image_id if image_id in self._labels(tag) else ""

    def get_image(self, image_id: str, params: Any = None) -> BytesIO:
        """An image's bytes."""
        return BytesIO(Path(self.get_image_uri(image_id)).read_bytes())

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image.

        Raises:
            Refused: it isn't listed.
        """
        return str(self._image(image_id))

    def source(self, image_id: str) -> Path:
        """What a model reads of an image: its file, or a folder with the files of its series.

        Raises:
            Refused: it isn't listed.
        """
        return self._image(image_id)

    def modality(self, image_id: str) -> str:
        """DICOM Modality that an image is read as: DX for a radiograph in DICOM."""
        return "DX" if self.source(image_id).name.lower().endswith(".dcm") else "CT"

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> BytesIO:
        """A label's bytes."""
        return BytesIO(Path(self.get_label_uri(label_id, label_tag)).read_bytes())

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label.

        Raises:
            Refused: there is none.
        """
        label = self._labels(label_tag).get(label_id)
        if label is None:
            raise Refused(404, f"image {label_id!r} has no label {label_tag!r}; submit one first")
        return str(label)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What was said of an image, and its path; nothing of one that isn't listed."""
        image = self._images().get(image_id)
        return {} if image is None else {**self._said(self._image_info(image_id)), "path": str(image)}

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What was said of a label."""
        if label_id not in self._labels(label_tag):
            return {}
        return self._said(self._label_info(label_id, label_tag))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the images with a final label."""
        labelled = self._labels(FINAL)
        return [image for image in self.list_images() if image in labelled]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the images without a final label."""
        labelled = self._labels(FINAL)
        return [image for image in self.list_images() if image not in labelled]

    def list_images(self) -> list[str]:
        """Ids of all images, sorted."""
        return sorted(self._images())

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Path of a zip of all images with a final label, those labels, and a datalist.

        Raises:
            Refused: there is none.
        """
        pairs = self.datalist()[: limit_cases or None]
        if not pairs:
            raise Refused(404, "no image has a final label yet; submit one first")
        descriptor, name = tempfile.mkstemp(prefix="dataset-", suffix=".zip")
        with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            listed = []
            for pair in pairs:
                names = {key: f"{key}s/{Path(pair[key]).name}" for key in ("image", "label")}
                for key, name_there in names.items():
                    archive.write(pair[key], name_there)
                listed.append({**pair, **names})
            archive.writestr("datalist.json", json.dumps({"training": listed}, indent=2))
        return name

    def refresh(self) -> None:
        """Nothing to do: the files are the index."""

    def add_image(self, image_id: str, image_filename: str, image_info: Mapping[str, Any]) -> str:
        """Takes in an image.

        Raises:
            Refused: its id is bad or taken, or it is no image that can be read.
        """
        source = Path(image_filename)
        suffix = _suffix(source.name, IMAGES)
        if suffix is None:
            raise Refused(422, f"an image must be one of {', '.join(IMAGES)}; convert it")
        image_id = image_id or source.name[: -len(suffix)]
        if not _ID.fullmatch(image_id) or image_id.endswith((".", " ")):
            raise Refused(422, "an image's id is made of letters, digits and . _ - ( ) +, and starts with one of these")
        with self._refusing(image_id, source, "the image"):
            load_volume(source, modality="DX" if suffix == ".dcm" else "CT")
            with locked(self._lock):
                if image_id in self._images():
                    raise Refused(409, f"there is already an image {image_id!r}; remove it first or choose another id")
                info = {**image_info, "ts": int(time.time()), "name": f"{image_id}{suffix}"}
                place = self.folder / f"{image_id}{suffix}"
                write_whole({self._image_info(image_id): as_json(info), place: copied(source)})
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Deletes an image and its labels.

        Raises:
            Refused: it isn't listed.
        """
        with locked(self._lock):
            image = self._image(image_id)
            for tag in self._tags():
                self._remove(image_id, tag)
            image.unlink(missing_ok=True)
            self._image_info(image_id).unlink(missing_ok=True)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: Mapping[str, Any]) -> str:
        """Takes in a label of an image; an earlier one of the same tag stays until the new one is whole and on disk.

        Raises:
            Refused: the image isn't there (any more), the tag or the kind of file is bad, the label doesn't lie on
                the image, or the disk is full.
        """
        tag, label = _tag(label_tag), Path(label_filename)
        source = self.source(image_id)
        suffix = _suffix(label.name, LABELS)
        if suffix is None:
            raise Refused(422, f"a label must be one of {', '.join(LABELS)}; convert it")
        with self._refusing(image_id, label, "the label", source):
            self.grids.check(image_id, source, label, self.most_label, self.modality(image_id))
            self._keep(image_id, tag, suffix, label, label_info)
        return image_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Deletes a label.

        Raises:
            Refused: there is none.
        """
        with locked(self._lock):
            self.get_label_uri(label_id, label_tag)
            self._remove(label_id, label_tag)

    def update_image_info(self, image_id: str, info: Mapping[str, Any]) -> None:
        """Adds to what is said of an image.

        Raises:
            Refused: it isn't listed.
        """
        self._image(image_id)
        self._add(self._image_info(image_id), info)

    def update_label_info(self, label_id: str, label_tag: str, info: Mapping[str, Any]) -> None:
        """Adds to what is said of a label.

        Raises:
            Refused: there is none.
        """
        self.get_label_uri(label_id, label_tag)
        self._add(self._label_info(label_id, label_tag), info)

    def status(self) -> dict[str, Any]:
        """How many images there are, how many are done, and labels by tag."""
        images = set(self.list_images())
        counts = {tag: len(images & set(self._labels(tag))) for tag in self._tags()}
        counts = {tag: count for tag, count in counts.items() if count}
        return {"total": len(images), "completed": counts.get(FINAL, 0), "label_tags": counts}

    def json(self) -> dict[str, Any]:
        """All images with their labels and what was said of them."""
        labels = {tag: self._labels(tag) for tag in self._tags()}
        return {
            "name": self.name(),
            "description": self.description(),
            "images_dir": ".",
            "labels_dir": "labels",
            "objects": {
                image: {
                    "image": {"ext": _suffix(path.name, IMAGES), "info": self._said(self._image_info(image))},
                    "labels": {
                        tag: {
                            "ext": _suffix(found[image].name, LABELS),
                            "info": self._said(self._label_info(image, tag)),
                        }
                        for tag, found in labels.items()
                        if image in found
                    },
                }
                for image, path in sorted(self._images().items())
            },
        }

    # the files

    @property
    def _lock(self) -> Path:
        return self.folder / ".radseg" / "lock"

    def _images(self) -> dict[str, Path]:
        """Image files by id; of two whose names differ in their suffix alone the first in the order of `IMAGES`."""
        found: dict[str, Path] = {}
        ranked = ((_suffix(entry.name, IMAGES), entry) for entry in _files(self.folder))
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
        for entry in _files(self.folder / "labels" / _tag(tag)):
            suffix = _suffix(entry.name, LABELS)
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
            self.source(image_id)  # it may have been removed while the label was checked
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
        return self.folder / ".radseg" / "labels" / _tag(tag) / f"{image_id}.json"

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


def remove_folder(folder: Path) -> None:
    """Deletes a folder and what is in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[os.DirEntry[str]]:
    """The files in a folder whose names don't begin with a dot."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    except FileNotFoundError:
        return []


def _suffix(name: str, known: tuple[str, ...]) -> str | None:
    """The suffix of a file's name as it is written there, if it is one of those known."""
    for suffix in known:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[-len(suffix) :]
    return None


def _tag(tag: str) -> str:
    text = tag.value if isinstance(tag, DefaultLabelTag) else str(tag)
    if not _TAG.fullmatch(text):
        raise Refused(422, "a tag is made of letters, digits, _ and -, such as final")
    return text
