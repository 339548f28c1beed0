"""3D Slicer's plug-in on `radseg label start`: its requests, in its order, by the client that it carries."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

pytest.importorskip("monailabel")

import SimpleITK
from annotation_server import annotation_server
from label_process import LabelProcess
from slicer_plugin import SlicerPlugin, corrected
from waiting import wait_for

pytestmark = [
    pytest.mark.long,
    # MONAI Label's client leaves sockets and files to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(socket|_io):pytest.PytestUnraisableExceptionWarning"),
]

SAMPLES = Path(__file__).parents[3] / "sample_data"
PICTURES = ("chest01_pa", "chest02_pa", "chest03_pa")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelProcess]:
    """A server of radiographs."""
    studies = tmp_path_factory.mktemp("radiographs")
    for name in PICTURES:
        shutil.copy(SAMPLES / "lung_xray" / "imagesTr" / f"{name}.png", studies)
    with annotation_server(tmp_path_factory.mktemp("server"), studies, "lung_xray") as running:
        yield running


@pytest.fixture
def slicer(server: LabelProcess, tmp_path: Path) -> SlicerPlugin:
    """The plug-in, connected."""
    plugin = SlicerPlugin(server.url, tmp_path)
    plugin.connect(server.token)
    return plugin


def test_the_plugin_logs_in_with_the_token_as_password(slicer: SlicerPlugin) -> None:
    assert [model["type"] for model in slicer.info["models"].values()] == ["segmentation"]
    assert slicer.info["labels"] == ["lung"]


def test_a_wrong_password_is_told_in_one_line(server: LabelProcess, tmp_path: Path) -> None:
    from monailabel.client.client import MONAILabelClientException

    with pytest.raises(MONAILabelClientException) as refused:
        SlicerPlugin(server.url, tmp_path).connect("letmein")
    assert refused.value.status_code == 401
    assert "token" in refused.value.msg
    assert "\n" not in refused.value.msg


def test_from_the_next_ct_to_a_corrected_label(tmp_path: Path, spine_weights: Path) -> None:
    studies = tmp_path / "cts"
    studies.mkdir()
    shutil.copy(SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz", studies)
    with annotation_server(tmp_path, studies, "spine", "--weights", f"spine={spine_weights}") as server:
        slicer = SlicerPlugin(server.url, tmp_path)
        slicer.connect(server.token)
        sample = slicer.next_sample("random")
        image, mask = slicer.load(sample), slicer.segment("spine", sample["id"])
        assert mask.GetSize() == image.GetSize()
        np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), rtol=1e-5)
        np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-6)

        label = corrected(mask)
        assert slicer.submit(sample["id"], label, ["vertebra", "fractured vertebra"])["image"] == "spine01"
        assert slicer.client.info()["datastore"]["completed"] == 1
        told = slicer.client.datastore()["objects"]["spine01"]["labels"]["final"]["info"]
        assert [one["name"] for one in told["label_info"]] == ["vertebra", "fractured vertebra"]
        np.testing.assert_array_equal(slicer.submitted("spine01"), SimpleITK.GetArrayFromImage(label))
        assert slicer.next_sample("random") == {}


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".seg.nrrd"])
def test_labels_of_radiographs_come_in_whatever_form_slicer_saves(
    server: LabelProcess, tmp_path: Path, extension: str
) -> None:
    plugin = SlicerPlugin(server.url, tmp_path, extension)
    plugin.connect(server.token)
    mask = plugin.segment("lung_xray", "chest01_pa")
    label = corrected(mask)
    plugin.submit("chest01_pa", label, ["lung"])
    submitted = plugin.submitted("chest01_pa")
    np.testing.assert_array_equal(np.squeeze(submitted), np.squeeze(SimpleITK.GetArrayFromImage(label)))


def test_one_client_object_serves_a_whole_session(server: LabelProcess, tmp_path: Path) -> None:
    # it keeps the headers of its last upload, Content-Length among them, for requests without a body
    plugin = SlicerPlugin(server.url, tmp_path, one_client=True)
    plugin.connect(server.token)
    plugin.segment("lung_xray", "chest02_pa")
    assert plugin.client.info()["name"] == "radseg"
    assert plugin.client.datastore()["objects"]
    assert plugin.client.train_status(check_if_running=True) in (True, False)


def test_options_that_the_server_tells_can_be_sent_back(slicer: SlicerPlugin) -> None:
    assert "label_colors" in slicer.options("infer", "lung_xray")
    # Slicer shows an object as a list to choose from and sends the choice
    slicer.info["models"]["lung_xray"]["config"]["label_colors"] = "lung"
    assert SimpleITK.GetArrayFromImage(slicer.segment("lung_xray", "chest02_pa")).any()


def test_an_image_of_slicers_own_is_segmented_in_a_session(slicer: SlicerPlugin) -> None:
    own = SAMPLES / "lung_xray" / "imagesTr" / "chest04_pa.png"
    session = slicer.client.create_session(str(own))["session_id"]
    # the plug-in names its volume, too, which the server doesn't list
    mask = slicer.segment("lung_xray", "chest04_pa", session)
    assert SimpleITK.GetArrayFromImage(mask).any()
    assert "chest04_pa" not in slicer.client.datastore()["objects"]
    slicer.client.remove_session(session)


def test_an_image_that_is_uploaded_is_labelled_like_any_other(slicer: SlicerPlugin) -> None:
    own = SAMPLES / "lung_xray" / "imagesTr" / "chest05_pa.png"
    slicer.client.upload_image(str(own), "from_slicer")
    mask = slicer.segment("lung_xray", "from_slicer")
    slicer.submit("from_slicer", corrected(mask), ["lung"])
    assert "final" in slicer.client.datastore()["objects"]["from_slicer"]["labels"]


def test_slicer_downloads_images_without_the_token_and_is_refused(slicer: SlicerPlugin) -> None:
    # so it must see the images on a disk of its own, as docs/annotation.md says
    with pytest.raises(requests.HTTPError, match="401"):
        slicer.load({"id": "chest01_pa"})


def test_update_model_trains_a_new_version(slicer: SlicerPlugin, server: LabelProcess) -> None:
    for image in PICTURES:
        truth = SimpleITK.ReadImage(str(next((SAMPLES / "lung_xray" / "labelsTr").glob(f"{image}.*"))))
        slicer.submit(image, SimpleITK.Cast(truth > 0, SimpleITK.sitkUInt8), ["lung"])
    before = server.ask("GET", "/radseg/versions/lung_xray").json()["current"]
    slicer.train("lung_xray", max_epochs=1)

    def ended() -> bool:
        status = slicer.client.train_status()["status"]
        assert status != "ERROR", slicer.client.train_status()
        return status not in ("SUBMITTED", "RUNNING")

    wait_for(ended, 300)
    now = server.ask("GET", "/radseg/versions/lung_xray").json()
    assert now["current"] == before + 1
    assert slicer.client.info()["models"]["lung_xray"]["version"] == before + 1


def test_training_of_all_models_can_be_asked_for_and_stopped(slicer: SlicerPlugin) -> None:
    assert slicer.train(None)
    wait_for(lambda: slicer.client.train_status(check_if_running=True), 60)
    assert slicer.client.train_stop()
    wait_for(lambda: not slicer.client.train_status(check_if_running=True), 60)
