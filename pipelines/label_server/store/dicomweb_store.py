"""The datastore on a DICOMweb archive: its series are the images; final labels go back as DICOM Segmentations.

What was fetched and submitted is kept in a folder, as in the local datastore: FOLDER/<SeriesInstanceUID>/ holds the
series' files, FOLDER/<SeriesInstanceUID>.nii.gz the same image for clients, on the grid that masks have. A label is
kept there before it is sent, so an archive that is down loses none.
"""

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import requests
from dicomweb_client import DICOMwebClient
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.utils.dicom import dicom_web_download_series
from pydicom import dcmread
from pydicom.dataset import Dataset

from radseg.pipelines.errors import RadsegError
from radseg.pipelines.io import load_volume
from radseg.pipelines.label_server.durable import write_whole
from radseg.pipelines.label_server.models.label_info import label_info
from radseg.pipelines.label_server.models.serving import Described
from radseg.pipelines.label_server.refused import Refused, not_there
from radseg.pipelines.label_server.store.datastore import FINAL, LabelStore, remove_folder
from radseg.pipelines.label_server.store.submitted_seg import write_own_seg, write_seg

_PAGE = 100
MODALITIES = {"DX": ("DX", "CR", "RG")}
"""What a bundle's modality stands for in an archive, where that is more than itself."""


@dataclass(frozen=True)
class _Series:
    """A series as the archive lists it."""

    study_uid: str
    modality: str
    patient: str


class DicomWebStore(LabelStore, DICOMWebDatastore):
    """An archive's series and their labels.

    Args:
        client: the archive.
        folder: for what is fetched and submitted.
        filters: QIDO-RS search keys; a series that one of them finds is an image.
        models: what labels may be of, by name; of one that comes without `label_info` their words are taken.
        most_label: highest value that a submitted label may hold; None allows any.
        expiry_s: how long a listing is taken as it was.
    """

    def __init__(
        self,
        client: DICOMwebClient,
        folder: Path,
        filters: Sequence[Mapping[str, str]],
        models: Mapping[str, Described],
        most_label: int | None = None,
        expiry_s: float = 5.0,
    ) -> None:
        LabelStore.__init__(self, folder, most_label)
        self._client = client
        self.filters = [dict(one) for one in filters]
        self.models = dict(models)
        self.expiry_s = expiry_s
        self._listed: dict[str, _Series] = {}
        self._listed_at = -float("inf")
        self._listing = threading.Lock()
        self._fetching = threading.Lock()

    def name(self) -> str:
        """The archive's address."""
        return str(self._client.base_url)

    def description(self) -> str:
        """What kind of datastore it is."""
        return "series of a DICOMweb archive"

    def source(self, image_id: str) -> Path:
        """The folder with a series' files, fetched when it isn't there yet.

        Raises:
            Refused: it isn't listed, or the archive can't be reached.
        """
        series = self._series_of(image_id)
        place = self.folder / image_id
        with self._fetching:
            if not place.is_dir():
                part = self.folder / f".{uuid.uuid4().hex}.part"
                try:
                    self._asked(lambda: dicom_web_download_series(series.study_uid, image_id, str(part), self._client))
                    if not any(part.iterdir()):
                        raise not_there(image_id)
                    part.rename(place)
                finally:
                    remove_folder(part)
        return place

    def get_image_uri(self, image_id: str) -> str:
        """Path of the image as NIfTI, on the grid that masks have.

        Raises:
            Refused: it isn't listed, can't be used, or the archive can't be reached.
        """
        source, place = self.source(image_id), self.folder / f"{image_id}.nii.gz"
        if not place.is_file():
            with self._refusing(image_id, source, "the series"):
                volume = load_volume(source, modality=self.modality(image_id))
                image = nib.Nifti1Image(volume.array, volume.affine_ras)
                image.header.set_xyzt_units("mm")
                write_whole({place: _nifti(image)})
        return str(place)

    def modality(self, image_id: str) -> str:
        """DICOM Modality of a series, DX for every kind of radiograph."""
        modality = self._series_of(image_id).modality
        return "DX" if modality in MODALITIES["DX"] else modality

    def datalist(self) -> list[dict[str, Any]]:
        """Folders of all series with a final label, the label, and a hash that stands for the patient."""
        labels, listed = self._labels(FINAL), self._series()
        return [
            {"image": str(self.source(image)), "label": str(labels[image]), "patient": listed[image].patient}
            for image in sorted(listed.keys() & labels.keys())
        ]

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What was said of a series, and the ids by which OHIF opens it; nothing of one that isn't listed."""
        series = self._series().get(image_id)
        if series is None:
            return {}
        ids = {"StudyInstanceUID": series.study_uid, "SeriesInstanceUID": image_id, "Modality": series.modality}
        return {**self._said(self._image_info(image_id)), **ids}

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: Mapping[str, Any], label_id: str = ""
    ) -> str:
        """Takes in a label and, if it is final, sends it to the archive as a DICOM Segmentation.

        Raises:
            Refused: as in the local datastore; or the archive doesn't take it, and the label is kept here alone.
        """
        kept = super().save_label(image_id, label_filename, label_tag, {**label_info, "sent": False})
        if str(getattr(label_tag, "value", label_tag)) == FINAL:
            self._send(image_id, label_info)
        return kept

    def add_image(self, image_id: str, image_filename: str, image_info: Mapping[str, Any]) -> str:
        """Refused: an archive's images come to it on their own ways."""
        raise Refused(405, "images can't be added here: send them to the archive, they are listed then")

    def remove_image(self, image_id: str) -> None:
        """Refused: what is in the archive stays there."""
        raise Refused(405, "images can't be removed here: that is the archive's business")

    def _send(self, image_id: str, info: Mapping[str, Any]) -> None:
        label, source = Path(self.get_label_uri(image_id, FINAL)), self.source(image_id)
        model = self._model(info, self.modality(image_id))
        try:
            if self.modality(image_id) == "DX":
                seg = write_own_seg(source, label, model)
            else:
                seg = write_seg(source, label, self._infos(info, model))
        except RadsegError as error:
            raise Refused(422, f"the label of {image_id} is kept here, but not sent: {error}") from error
        if seg is None:
            return
        try:
            dataset = dcmread(seg)
            self._asked(
                lambda: self._client.store_instances([dataset]), "the label is kept here; submit it again later"
            )
        finally:
            seg.unlink(missing_ok=True)
        self.update_label_info(image_id, FINAL, {"sent": True, "SeriesInstanceUID": str(dataset.SeriesInstanceUID)})

    def _model(self, info: Mapping[str, Any], modality: str) -> Described:
        """The model that a label is of: the one that is named, else the first for such images."""
        named = self.models.get(str(info.get("model")))
        if named is not None:
            return named
        fitting = [model for model in self.models.values() if model.modality == modality]
        return next(iter([*fitting, *self.models.values()]))

    def _infos(self, info: Mapping[str, Any], model: Described) -> list[dict[str, Any]]:
        """What the segments are called: the client's words, in the models' coded terms where the names are theirs."""
        ours = {name: label_info(name, one.segments) for name, one in self.models.items()}
        given = info.get("label_info")
        if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given) or not given:
            return ours[model.name]
        coded = {str(one["name"]): one for all_of_one in ours.values() for one in all_of_one}
        result = []
        for number, one in enumerate(given, 1):
            known = coded.get(str(one.get("name")))
            result.append(dict(one) if known is None else _renumbered(known, number))
        return result

    # the archive

    def _images(self) -> dict[str, Path]:
        return {image: self.folder / f"{image}.nii.gz" for image in self._series()}

    def _image(self, image_id: str) -> Path:
        return Path(self.get_image_uri(image_id))

    def _series_of(self, image_id: str) -> _Series:
        series = self._series().get(image_id)
        if series is None:
            raise not_there(image_id)
        return series

    def _series(self) -> dict[str, _Series]:
        """The archive's series that are images here, by SeriesInstanceUID."""
        with self._listing:
            if time.monotonic() - self._listed_at > self.expiry_s:
                self._listed = self._asked(self._search)
                self._listed_at = time.monotonic()
            return self._listed

    def _search(self) -> dict[str, _Series]:
        found: dict[str, _Series] = {}
        for wanted in self.filters:
            for start in range(0, 10**6, _PAGE):
                page = self._client.search_for_series(
                    search_filters=wanted, limit=_PAGE, offset=start, fields=["PatientID", "Modality"]
                )
                new = {str(one["SeriesInstanceUID"].value): one for one in map(Dataset.from_json, page)}
                fresh = {uid: _series(one) for uid, one in new.items() if uid not in found}
                found |= fresh
                if len(page) < _PAGE or not fresh:
                    break
        return found

    def _asked(self, ask: Callable[[], Any], remedy: str = "see that it runs, then try again") -> Any:
        """What the archive answers.

        Raises:
            Refused: it can't be reached, or refuses.
        """
        try:
            return ask()
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise Refused(502, f"the archive answers {status}; {remedy}") from error
        except requests.RequestException as error:
            raise Refused(502, f"the archive can't be reached ({type(error).__name__}); {remedy}") from error


def _series(one: Dataset) -> _Series:
    patient = str(one.get("PatientID", "") or one["StudyInstanceUID"].value)
    hashed = hashlib.sha256(patient.encode()).hexdigest()[:16]
    return _Series(str(one["StudyInstanceUID"].value), str(one.get("Modality", "")), hashed)


def _renumbered(info: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {**info, "segmentAttribute": {**info["segmentAttribute"], "labelID": number}}


def _nifti(image: Any) -> Callable[[Path], None]:
    def write(part: Path) -> None:
        made = part.with_name(f"{part.name}.nii.gz")
        try:
            nib.save(image, made)
            made.rename(part)
        finally:
            made.unlink(missing_ok=True)

    return write
