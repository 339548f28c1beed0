"""The local datastore: what MONAI Label asks of a folder of images and the labels that were submitted."""

import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from radseg.pipelines.io import load_volume
from radseg.pipelines.label_server.durable import as_json, copied, locked, write_whole
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.store.grid import Grids
from radseg.pipelines.label_server.store.stored_files import IMAGES, LABELS, StoredFiles, checked_tag, suffix_of

FINAL = DefaultLabelTag.FINAL.value
_ID = re.compile(r"\w[\w.()+ -]{0,127}")


class LabelStore(StoredFiles, Datastore):
    """A folder of images and their labels.

    Args:
        folder: made where it isn't there.
        most_label: highest value that a submitted label may hold; None allows any.
    """

    def __init__(self, folder: Path | str, most_label: int | None = None) -> None:
        super().__init__(folder)
        self.most_label = most_label
        self.grids = Grids()

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
        suffix = suffix_of(source.name, IMAGES)
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
        tag, label = checked_tag(label_tag), Path(label_filename)
        source = self.source(image_id)
        suffix = suffix_of(label.name, LABELS)
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
                    "image": {"ext": suffix_of(path.name, IMAGES), "info": self._said(self._image_info(image))},
                    "labels": {
                        tag: {
                            "ext": suffix_of(found[image].name, LABELS),
                            "info": self._said(self._label_info(image, tag)),
                        }
                        for tag, found in labels.items()
                        if image in found
                    },
                }
                for image, path in sorted(self._images().items())
            },
        }


def remove_folder(folder: Path) -> None:
    """Deletes a folder and what is in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
