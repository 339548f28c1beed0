"""A server's folders are copied and started elsewhere, as docs/annotation.md says: nothing is missing there."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("monailabel")

from annotation_server import annotation_server
from label_app import radiographs, truth
from label_process import LabelProcess

from radseg.pipelines.label_server.models.versions import Versions

pytestmark = pytest.mark.long


def _versions(server: LabelProcess) -> dict[str, object]:
    told = server.ask("GET", "/radseg/versions/lung_xray").json()
    return {"current": told["current"], "weights": [one["weights_sha256"] for one in told["versions"]]}


def _label(server: LabelProcess, image: str) -> bytes:
    answer = server.ask("GET", "/datastore/label", params={"label": image, "tag": "final"})
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_copy_of_both_folders_elsewhere_has_labels_versions_and_tokens(tmp_path: Path) -> None:
    studies, old = radiographs(tmp_path / "studies", 3), tmp_path / "old"
    old.mkdir()
    with annotation_server(old, studies, "lung_xray") as server:
        for image in ("chest01_ap", "chest01_pa"):
            with truth(image).open("rb") as stream:
                sent = server.ask("PUT", "/datastore/label", params={"image": image}, files={"label": stream})
            assert sent.status_code == 200, sent.text
        versions = Versions(server.workspace)
        number = versions.add("lung_xray", versions.serving("lung_xray").weights, note={"origin": "test"})
        token, listed, known = server.token, server.ask("GET", "/datastore/?output=all").json(), _versions(server)
        assert known["current"] == number == 2
        labels = {image: _label(server, image) for image in ("chest01_ap", "chest01_pa")}

    new = tmp_path / "another machine"
    shutil.copytree(studies, new / "studies")
    shutil.copytree(old / "workspace", new / "workspace")
    shutil.rmtree(studies)
    shutil.rmtree(old)
    with annotation_server(new, new / "studies", "lung_xray") as server:
        assert server.ask("GET", "/info/", token=token).status_code == 200
        assert server.ask("GET", "/datastore/?output=all").json()["objects"] == listed["objects"]
        assert _versions(server) == known
        assert {image: _label(server, image) for image in labels} == labels
        masked = server.ask("POST", "/infer/lung_xray", params={"image": "chest02_ap", "output": "image"})
        assert masked.status_code == 200, masked.text
