"""The datastore on an archive: its series are listed, labels come to it as DICOM Segmentations, none is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("monailabel")

import finding_factory as factory
import requests
from dicom_factory import phantom, write_radiograph, write_series
from monailabel.datastore.dicom import DICOMwebClientX, DICOMWebDatastore

from radseg.pipelines.io import load_volume, write_mask
from radseg.pipelines.label_server.models.serving import Described
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.store.dicomweb_store import MODALITIES, DicomWebStore

NAMES = ("spine", "lung_xray")
FILTERS = [{"Modality": one} for one in ("CT", *MODALITIES["DX"])]
UID = "1.2.826.0.1.3680043.8.498.77"


@pytest.fixture
def models() -> dict[str, Described]:
    return {name: Described.of(name) for name in NAMES}


def store_of(url: str, folder: Path, models: dict[str, Described]) -> DicomWebStore:
    return DicomWebStore(DICOMwebClientX(url=url), folder, FILTERS, models, most_label=2, expiry_s=0)


def sent(orthanc: Any) -> list[dict[str, Any]]:
    """What the archive has of Segmentations."""
    instances = requests.get(f"{orthanc.http}/instances", timeout=30).json()
    tags = [requests.get(f"{orthanc.http}/instances/{one}/simplified-tags", timeout=30).json() for one in instances]
    return [one for one in tags if one["Modality"] == "SEG"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_label_reaches_the_archive_in_coded_terms_and_is_listed(
    tmp_path: Path, new_orthanc: Callable[..., Any], models: dict[str, Described], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import sys

    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    series = factory.series(tmp_path / "ct", (12, 10, 8), uid=UID)
    stored = np.random.default_rng(0).integers(0, 4096, (48, 40))
    write_radiograph(tmp_path / "xray.dcm", stored, **factory.HEADER)
    orthanc = new_orthanc()
    orthanc.put(series, tmp_path / "xray.dcm")
    store = store_of(f"{orthanc.http}/dicom-web", tmp_path / "store", models)
    assert isinstance(store, DICOMWebDatastore)  # MONAI Label asks that before it gives DICOM out
    (radiograph,) = set(store.list_images()) - {UID}
    assert (store.modality(UID), store.modality(radiograph)) == ("CT", "DX")
    assert store.status()["total"] == 2

    image = nib.load(store.get_image_uri(UID))
    own = load_volume(series)
    np.testing.assert_array_equal(np.asarray(image.dataobj), own.array)
    np.testing.assert_allclose(image.affine, own.affine_ras, atol=1e-5)

    label = np.zeros(own.array.shape, np.uint8)
    label[2:5, 3:6, 2:4] = 2  # the second label alone
    write_mask(tmp_path / "label.nii.gz", label, own.affine_ras)
    assert store.save_label(UID, str(tmp_path / "label.nii.gz"), "final", {}) == UID
    (segment,) = (one for seg in sent(orthanc) for one in seg["SegmentSequence"])
    assert segment["SegmentLabel"] == "fractured vertebra"
    assert segment["SegmentedPropertyTypeCodeSequence"][0]["CodeMeaning"] == "Fracture"
    (seg,) = sent(orthanc)
    assert seg["ReferencedSeriesSequence"][0]["SeriesInstanceUID"] == UID
    assert int(seg["NumberOfFrames"]) == 2
    assert store.get_label_info(UID, "final")["sent"] is True
    assert store.get_labeled_images() == [UID]

    shape = load_volume(store.source(radiograph), modality="DX")
    mask = np.zeros(shape.array.shape, np.uint8)
    mask[5:20, 6:30] = 1
    write_mask(tmp_path / "lungs.nii.gz", mask, shape.affine_ras)
    store.save_label(radiograph, str(tmp_path / "lungs.nii.gz"), "final", {"model": "lung_xray"})
    assert {one["SegmentLabel"] for seg in sent(orthanc) for one in seg["SegmentSequence"]} == {
        "fractured vertebra",
        "lung",
    }
    items = store.datalist()
    assert {Path(item["image"]).name for item in items} == {UID, radiograph}
    assert all("PatientID" not in item and len(item["patient"]) == 16 for item in items)

    orthanc.kill()
    label[:] = 0
    label[2:5, 3:6, 2:4] = 1
    write_mask(tmp_path / "label.nii.gz", label, own.affine_ras)
    with pytest.raises(Refused, match="archive can't be reached") as told:
        store.save_label(UID, str(tmp_path / "label.nii.gz"), "final", {})
    assert told.value.status_code == 502


class Archive:
    """A client whose archive lists one series, and takes labels only when it is told to."""

    base_url = "http://127.0.0.1:1/dicom-web"

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.broken: Exception | None = None

    def search_for_series(self, search_filters: dict[str, str], **page: Any) -> list[dict[str, Any]]:
        if self.broken is not None:
            raise self.broken
        if search_filters != {"Modality": "CT"} or page["offset"]:
            return []
        return [
            {
                "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
                "0020000E": {"vr": "UI", "Value": [UID]},
                "00080060": {"vr": "CS", "Value": ["CT"]},
                "00100020": {"vr": "LO", "Value": ["PAT-7"]},
            }
        ]

    def store_instances(self, datasets: list[Any]) -> None:
        if self.broken is not None:
            raise self.broken
        self.stored += datasets


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def store(tmp_path: Path, archive: Archive, models: dict[str, Described]) -> DicomWebStore:
    """Whose only series was fetched before."""
    write_series(tmp_path / "store" / UID, phantom(6, 5, 4), uid=UID)
    return DicomWebStore(archive, tmp_path / "store", FILTERS, models, most_label=2, expiry_s=0)


def label_of(store: DicomWebStore, folder: Path, value: int = 1) -> str:
    volume = load_volume(store.source(UID))
    write_mask(folder / "label.nii.gz", np.full(volume.array.shape, value, np.uint8), volume.affine_ras)
    return str(folder / "label.nii.gz")


def test_a_label_that_the_archive_doesnt_take_is_kept_and_that_is_said(
    store: DicomWebStore, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "seg.dcm"
    monkeypatch.setattr("radseg.pipelines.label_server.store.dicomweb_store.write_seg", lambda *_: made)

    def written() -> None:
        made.write_bytes(next((tmp_path / "store" / UID).iterdir()).read_bytes())

    written()
    take = archive.store_instances

    def refuse(datasets: list[Any]) -> None:
        raise requests.ConnectionError("http://10.0.0.1/secret")

    archive.store_instances = refuse  # type: ignore[method-assign]
    with pytest.raises(Refused, match="the label is kept here; submit it again later") as told:
        store.save_label(UID, label_of(store, tmp_path), "final", {})
    assert told.value.status_code == 502
    assert "secret" not in str(told.value)
    assert store.get_labeled_images() == [UID]
    assert store.get_label_info(UID, "final")["sent"] is False
    assert not made.exists()
    archive.store_instances = take  # type: ignore[method-assign]
    written()
    store.save_label(UID, label_of(store, tmp_path), "final", {})
    assert store.get_label_info(UID, "final")["sent"] is True
    assert len(archive.stored) == 1


def test_only_final_labels_are_sent(store: DicomWebStore, archive: Archive, tmp_path: Path) -> None:
    store.save_label(UID, label_of(store, tmp_path), "original", {})
    assert archive.stored == []
    assert store.status()["label_tags"] == {"original": 1}


def test_an_empty_label_is_kept_and_not_sent(store: DicomWebStore, archive: Archive, tmp_path: Path) -> None:
    store.save_label(UID, label_of(store, tmp_path, 0), "final", {})
    assert archive.stored == []
    assert store.status()["completed"] == 1


def test_an_archive_that_is_down_is_told_in_a_line(store: DicomWebStore, archive: Archive) -> None:
    archive.broken = requests.ConnectionError("refused")
    with pytest.raises(Refused, match=r"^the archive can't be reached \(ConnectionError\); see that it runs"):
        store.list_images()
    archive.broken = None
    assert store.list_images() == [UID]


@pytest.mark.parametrize("bad", ["../x", "/etc/passwd", "1.2.3.4", ""])
def test_a_series_that_isnt_listed_is_neither_fetched_nor_read(store: DicomWebStore, bad: str, tmp_path: Path) -> None:
    for call in (
        store.source,
        store.get_image_uri,
        lambda one: store.save_label(one, label_of(store, tmp_path), "f", {}),
    ):
        with pytest.raises(Refused, match="not in the datastore") as told:
            call(bad)
        assert told.value.status_code == 404


def test_images_are_the_archives_business(store: DicomWebStore) -> None:
    with pytest.raises(Refused, match="send them to the archive"):
        store.add_image("x", "x.nii.gz", {})
    with pytest.raises(Refused, match="the archive's business"):
        store.remove_image(UID)


def test_patients_are_told_apart_without_their_ids(store: DicomWebStore, tmp_path: Path) -> None:
    store.save_label(UID, label_of(store, tmp_path, 0), "final", {})
    (item,) = store.datalist()
    assert "PAT-7" not in str(item)
    assert not any(b"PAT-7" in file.read_bytes() for file in (tmp_path / "store" / ".radseg").rglob("*.json"))


def test_the_clients_names_are_put_in_coded_terms_where_they_are_a_models(
    store: DicomWebStore, models: dict[str, Described]
) -> None:
    ours = store._infos({}, models["spine"])
    assert [one["name"] for one in ours] == ["vertebra", "fractured vertebra"]
    given = [{"name": "fractured vertebra"}, {"name": "cage", "color": [1, 2, 3]}]
    first, second = store._infos({"label_info": given}, models["spine"])
    assert first["segmentAttribute"]["labelID"] == 1
    assert first["segmentAttribute"]["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] == "Fracture"
    assert second == given[1]
