"""The local datastore: no submitted label is lost, none is half-written, and no name leads out of the folder."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monailabel")

from label_app import pixels, radiographs, truth

from radseg.pipelines.io import write_mask, write_mask_png
from radseg.pipelines.label_server import durable
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.store.datastore import LabelStore

IMAGE = "chest01_ap"
AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """Two radiographs."""
    return LabelStore(radiographs(tmp_path / "studies", 2))


@pytest.fixture
def volumes(tmp_path: Path) -> LabelStore:
    """A volume of which labels up to 2 are known."""
    (tmp_path / "studies").mkdir()
    write_mask(tmp_path / "studies" / "ct.nii.gz", np.arange(60).reshape(3, 4, 5), AFFINE)
    return LabelStore(tmp_path / "studies", most_label=2)


def refused(status: int) -> "pytest.RaisesExc[Refused]":
    return pytest.raises(Refused, check=lambda error: error.status_code == status)


def parts(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.name.endswith(".part")]


def test_a_submitted_label_is_listed_and_kept_as_it_came(store: LabelStore) -> None:
    assert store.list_images() == ["chest01_ap", "chest01_pa"]
    assert store.save_label(IMAGE, str(truth(IMAGE)), "final", {"client_id": "me"}) == IMAGE
    assert Path(store.get_label_uri(IMAGE, "final")).read_bytes() == truth(IMAGE).read_bytes()
    assert store.get_labeled_images() == [IMAGE]
    assert store.get_unlabeled_images() == ["chest01_pa"]
    assert store.status() == {"total": 2, "completed": 1, "label_tags": {"final": 1}}
    assert store.get_label_info(IMAGE, "final")["client_id"] == "me"
    assert store.json()["objects"][IMAGE]["labels"]["final"]["ext"] == ".png"
    assert store.get_labels_by_image_id(IMAGE) == {"final": IMAGE}
    assert store.datalist() == [
        {"image": store.get_image_uri(IMAGE), "label": store.get_label_uri(IMAGE, "final")},
    ]


def test_a_server_started_again_knows_every_submitted_label(store: LabelStore) -> None:
    store.save_label(IMAGE, str(truth(IMAGE)), "final", {"client_id": "me"})
    again = LabelStore(store.folder)
    assert again.json() == store.json()
    assert again.get_labeled_images() == [IMAGE]


@pytest.mark.long
def test_a_server_killed_while_labels_come_in_loses_none_that_it_took(tmp_path: Path) -> None:
    folder = radiographs(tmp_path / "studies", 1)
    (image,) = folder.iterdir()
    for number in range(500):
        (folder / f"copy{number:03d}.png").write_bytes(image.read_bytes())
    code = f"""
import sys
from radseg.pipelines.label_server.store.datastore import LabelStore
store = LabelStore({str(folder)!r})
for image in store.list_images():
    print(store.save_label(image, {str(truth(image.stem))!r}, "final", {{}}), flush=True)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        taken = [process.stdout.readline().strip() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        taken += [line.strip() for line in process.stdout if line.endswith("\n")]
    store = LabelStore(folder)
    assert 40 <= len(taken) < 501
    assert set(taken) <= set(store.get_labeled_images())
    for labelled in store.get_labeled_images():
        assert Path(store.get_label_uri(labelled, "final")).read_bytes() == truth(image.stem).read_bytes()
    store.save_label(image.stem, str(truth(image.stem)), "final", {})


def test_a_full_disk_leaves_the_old_label_as_it_was(
    store: LabelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_label(IMAGE, str(truth(IMAGE)), "final", {"client_id": "first"})
    write_mask_png(tmp_path / "other.png", np.zeros(pixels(truth(IMAGE)).shape, np.uint8))

    def full(source: Path, place: Path) -> None:
        Path(place).write_bytes(Path(source).read_bytes()[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(durable.shutil, "copyfile", full)
        with refused(507) as told:
            store.save_label(IMAGE, str(tmp_path / "other.png"), "final", {"client_id": "second"})
    assert "No space left on device" in str(told.value)
    assert Path(store.get_label_uri(IMAGE, "final")).read_bytes() == truth(IMAGE).read_bytes()
    assert store.get_label_info(IMAGE, "final")["client_id"] == "first"
    assert parts(store.folder) == []


def test_what_is_said_of_a_label_belongs_to_it_on_a_full_disk_too(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_label(IMAGE, str(truth(IMAGE)), "final", {"client_id": "first"})

    def full(path: Path) -> None:
        if path.suffix == ".part" and ".json." in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync", full)
        with refused(507):
            store.save_label(IMAGE, str(truth(IMAGE)), "final", {"client_id": "second"})
    assert store.get_label_info(IMAGE, "final")["client_id"] == "first"
    assert parts(store.folder) == []


def test_a_label_of_another_shape_is_refused_with_both_sizes(store: LabelStore, tmp_path: Path) -> None:
    write_mask_png(tmp_path / "small.png", np.ones((8, 6), np.uint8))
    with refused(422) as told:
        store.save_label(IMAGE, str(tmp_path / "small.png"), "final", {})
    assert "8 × 6 × 1 voxels" in str(told.value)
    assert store.status()["completed"] == 0


def test_a_label_that_lies_elsewhere_is_refused(volumes: LabelStore, tmp_path: Path) -> None:
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] = 7
    write_mask(tmp_path / "l.nii.gz", np.ones((3, 4, 5), np.uint8), elsewhere)
    with refused(422) as told:
        volumes.save_label("ct", str(tmp_path / "l.nii.gz"), "final", {})
    assert "affine" in str(told.value)
    assert str(tmp_path) not in str(told.value)


def test_a_label_that_no_model_knows_is_refused(volumes: LabelStore, tmp_path: Path) -> None:
    write_mask(tmp_path / "l.nii.gz", np.full((3, 4, 5), 3, np.uint8), AFFINE)
    with refused(422) as told:
        volumes.save_label("ct", str(tmp_path / "l.nii.gz"), "final", {})
    assert str(told.value) == "the label holds 3, the models here know 0 to 2; relabel it"


def test_a_file_that_is_no_mask_is_refused_without_a_path_of_the_server(store: LabelStore, tmp_path: Path) -> None:
    (tmp_path / "junk.nii.gz").write_bytes(b"junk")
    with refused(422) as told:
        store.save_label(IMAGE, str(tmp_path / "junk.nii.gz"), "final", {})
    assert str(tmp_path) not in str(told.value)
    assert "\n" not in str(told.value)
    (tmp_path / "label.exe").write_bytes(b"junk")
    with refused(422):
        store.save_label(IMAGE, str(tmp_path / "label.exe"), "final", {})


def test_a_label_of_an_image_that_was_removed_is_refused(store: LabelStore) -> None:
    (store.folder / f"{IMAGE}.png").unlink()
    with refused(404) as told:
        store.save_label(IMAGE, str(truth(IMAGE)), "final", {})
    assert "not in the datastore (any more)" in str(told.value)


def test_an_image_removed_while_its_label_is_checked_gets_no_label(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = store.grids.check

    def removed(*arguments: object) -> None:
        check(*arguments)  # type: ignore[arg-type]
        (store.folder / f"{IMAGE}.png").unlink()

    monkeypatch.setattr(store.grids, "check", removed)
    with refused(404):
        store.save_label(IMAGE, str(truth(IMAGE)), "final", {})
    assert not list(store.folder.glob("labels/final/*"))


def test_a_removed_image_takes_its_labels_along(store: LabelStore) -> None:
    store.save_label(IMAGE, str(truth(IMAGE)), "final", {})
    store.remove_image(IMAGE)
    assert store.list_images() == ["chest01_pa"]
    assert not list(store.folder.glob("labels/final/*"))
    with refused(404):
        store.remove_image(IMAGE)
    with refused(404):
        store.update_image_info(IMAGE, {"a": 1})


def test_a_label_of_another_kind_of_file_replaces_the_one_before(volumes: LabelStore, tmp_path: Path) -> None:
    for value, name in ((1, "a.nii.gz"), (2, "b.nii")):
        write_mask(tmp_path / name, np.full((3, 4, 5), value, np.uint8), AFFINE)
        volumes.save_label("ct", str(tmp_path / name), "final", {})
    assert [file.name for file in (volumes.folder / "labels" / "final").iterdir()] == ["ct.nii"]
    assert (pixels(Path(volumes.get_label_uri("ct", "final"))) == 2).all()


@pytest.mark.parametrize("bad", ["../../outside", "/etc/passwd", "..", "", "a/b", "chest01_ap/../../x", "\0"])
def test_no_id_or_tag_leads_out_of_the_folder(store: LabelStore, tmp_path: Path, bad: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    label = str(truth(IMAGE))
    for status, call in [
        (404, lambda: store.save_label(bad, label, "final", {})),
        (422, lambda: store.save_label(IMAGE, label, bad, {})),
        (404, lambda: store.get_image_uri(bad)),
        (404, lambda: store.get_label_uri(bad, "final")),
        (422, lambda: store.get_label_uri(IMAGE, bad)),
        (404, lambda: store.remove_image(bad)),
        (404, lambda: store.remove_label(bad, "final")),
        (404, lambda: store.update_image_info(bad, {})),
        (404, lambda: store.update_label_info(bad, "final", {})),
    ]:
        with refused(status):
            call()
    assert store.get_image_info(bad) == {}
    if bad:
        with refused(422):
            store.add_image(bad, label, {})
    assert [one for one in sorted(tmp_path.rglob("*")) if ".radseg" not in one.parts] == before


def test_an_added_image_is_one_that_can_be_read_under_an_id_of_its_own(store: LabelStore, tmp_path: Path) -> None:
    source = store.folder / f"{IMAGE}.png"
    assert store.add_image("new", str(source), {"patient": "p1"}) == "new"
    assert store.get_image_info("new")["patient"] == "p1"
    with refused(409):
        store.add_image(IMAGE, str(source), {})
    (tmp_path / "junk.png").write_bytes(b"junk")
    with refused(422):
        store.add_image("junk", str(tmp_path / "junk.png"), {})
    assert store.list_images() == ["chest01_ap", "chest01_pa", "new"]
    store.save_label("new", str(truth(IMAGE)), "final", {})
    assert store.datalist()[0]["patient"] == "p1"


def test_what_is_said_of_an_image_is_added_to(store: LabelStore) -> None:
    store.update_image_info(IMAGE, {"a": 1})
    store.update_image_info(IMAGE, {"b": 2})
    info = store.get_image_info(IMAGE)
    assert (info["a"], info["b"]) == (1, 2)
    store.save_label(IMAGE, str(truth(IMAGE)), "final", {})
    store.update_label_info(IMAGE, "final", {"dice": 0.5})
    assert store.get_label_info(IMAGE, "final")["dice"] == 0.5
    store.remove_label(IMAGE, "final")
    assert store.get_label_info(IMAGE, "final") == {}


def test_all_labelled_images_come_as_one_zip_with_a_datalist(store: LabelStore) -> None:
    with refused(404):
        store.get_dataset_archive(None)
    store.save_label(IMAGE, str(truth(IMAGE)), "final", {})
    file = Path(store.get_dataset_archive(None))
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["images/chest01_ap.png", "labels/chest01_ap.png", "datalist.json"]
    file.unlink()


def test_a_half_written_file_of_a_killed_server_is_never_listed(store: LabelStore) -> None:
    store.save_label(IMAGE, str(truth(IMAGE)), "final", {})
    left = store.folder / "labels" / "final" / ".chest01_pa.png.0123.part"
    shutil.copy(truth(IMAGE), left)
    os.utime(left, (0, 0))
    assert store.status()["completed"] == 1
    assert parts(LabelStore(store.folder).folder) == []
