"""A whole turn of annotation on a real server: list, infer, correct, submit, train, serve the new version, score."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monailabel")

import psutil
from label_app import LabelServer, pixels, radiographs, serving, truth
from waiting import wait_for

from radseg.pipelines.label_server.models.versions import Versions
from radseg.pipelines.segment import segment

pytestmark = pytest.mark.long


def test_a_label_submitted_trains_a_version_that_serves_without_a_restart(tmp_path: Path) -> None:
    studies = radiographs(tmp_path / "studies")
    with serving(LabelServer(tmp_path, studies, tmp_path / "workspace", bundles="lung_xray")) as server:
        info = server.get("/info/")
        assert info["labels"] == ["lung"]
        assert server.get("/datastore/")["total"] == 12
        first = server.post("/activelearning/uncertainty").json()["id"]
        masked = server.infer("lung_xray", first)
        assert masked.status_code == 200, masked.text
        (tmp_path / "mask.png").write_bytes(masked.content)
        segment("lung_xray", studies / f"{first}.png", tmp_path / "segmented", device="cpu", progress=False)
        expected = pixels(tmp_path / "segmented" / first / "mask.png")
        np.testing.assert_array_equal(pixels(tmp_path / "mask.png"), expected)

        batch = server.post("/batch/infer/lung_xray", {"device": "cpu"}, images="unlabeled")
        assert batch.status_code == 200, batch.text
        assert server.ended("/batch/infer")["status"] == "DONE", server.log()[-2000:]
        assert server.get("/datastore/")["label_tags"] == {"original": 12}

        for image in [first, *[one for one in server.get("/datastore/", output="all")["objects"] if one != first][:3]]:
            assert server.submit(image, truth(image)).status_code == 200
        assert server.get("/datastore/")["completed"] == 4
        assert server.post("/activelearning/random").json()["id"] not in server_labelled(server)

        started = server.post("/train/lung_xray", {"max_epochs": 1, "val_split": 0.25})
        assert started.status_code == 200, started.text
        second = server.post("/train/lung_xray", {"max_epochs": 1})
        assert server.ended("/train/")["status"] == "DONE", server.log()[-3000:]
        assert second.status_code in (200, 429)  # 200 if the first was through already
        assert Versions(tmp_path / "workspace").current("lung_xray") >= 2
        assert server.get("/info/")["models"]["lung_xray"]["version"] >= 2
        after = server.infer("lung_xray", first)
        (tmp_path / "after.png").write_bytes(after.content)
        assert (pixels(tmp_path / "after.png") != expected).any()

        score = server.post("/scoring/dice", {}, run_sync="true").json()
        assert len(score["images"]) == 4
        assert 0 < score["mean"]["1"] <= 1
        now = server.post("/scoring/dice", {"model": "lung_xray"}, run_sync="true").json()
        assert "version" in now["against"]


def server_labelled(server: LabelServer) -> set[str]:
    objects = server.get("/datastore/", output="all")["objects"]
    return {image for image, about in objects.items() if "final" in about["labels"]}


@pytest.mark.parametrize("how", ["stopped by a client", "killed", "killed with the server"])
def test_a_killed_training_leaves_the_old_version_serving(tmp_path: Path, how: str) -> None:
    studies = radiographs(tmp_path / "studies", 4)
    with serving(LabelServer(tmp_path, studies, tmp_path / "workspace", bundles="lung_xray")) as server:
        images = list(server.get("/datastore/", output="all")["objects"])
        before = server.infer("lung_xray", images[0]).content
        for image in images:
            assert server.submit(image, truth(image)).status_code == 200
        assert server.post("/train/lung_xray", {"max_epochs": 1000}).status_code == 200
        wait_for(lambda: "epoch 2 of 1000" in server.log(), 120, lambda: server.log()[-2000:])
        refused = server.post("/train/lung_xray", {"max_epochs": 1})
        assert refused.status_code == 429
        assert "Already Running" in refused.text

        if how == "stopped by a client":
            import requests

            assert requests.delete(f"{server.url}/train/", timeout=60).status_code == 200
        elif how == "killed":
            assert server.process is not None
            (training,) = [
                child
                for child in psutil.Process(server.process.pid).children(recursive=True)
                if "train" in child.cmdline()
            ]
            os.kill(training.pid, signal.SIGKILL)
            assert server.ended("/train/")["status"] == "ERROR"
        else:
            server.kill()
            server.start()
        assert server.get("/info/")["models"]["lung_xray"]["version"] == 1
        assert server.infer("lung_xray", images[0]).content == before
        assert server.get("/datastore/")["completed"] == 4

        wait_for(lambda: server.post("/train/lung_xray", {"max_epochs": 1}).status_code == 200, 60)
        assert server.ended("/train/")["status"] == "DONE", server.log()[-3000:]
        assert [one.number for one in Versions(tmp_path / "workspace").list("lung_xray")] == [1, 2]
        assert len(list((tmp_path / "workspace" / "lung_xray" / ".runs").iterdir())) == 1
