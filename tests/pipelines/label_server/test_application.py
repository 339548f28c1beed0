"""The app as MONAI Label uses it: what it tells, which images it takes, how it is configured."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("monailabel")

from label_app import pixels, radiographs, truth
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file
from untrained import first_version_untrained

from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.label_server.application import Application
from radseg.pipelines.label_server.refused import Refused

MAIN = Path(__file__).parents[3] / "pipelines" / "label_server" / "app" / "main.py"


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    workspace = tmp_path_factory.mktemp("workspace")
    first_version_untrained(workspace, "spine", tmp_path_factory.mktemp("untrained"))
    return {"bundles": "lung_xray,spine", "workspace": str(workspace), "device": "cpu"}


@pytest.fixture
def app(tmp_path: Path, conf: dict[str, str]) -> Application:
    return Application(str(tmp_path / "app"), str(radiographs(tmp_path / "studies", 3)), conf)


def test_monai_label_finds_the_app_in_its_folder() -> None:
    assert get_class_of_subclass_from_file("main", str(MAIN), "MONAILabelApp").__name__ == "Application"


def test_it_tells_models_with_weights_trainings_of_all_and_what_can_be_asked(app: Application) -> None:
    info = app.info()
    assert list(info["models"]) == ["lung_xray"]
    assert list(info["trainers"]) == ["lung_xray", "spine"]
    assert list(info["strategies"]) == ["random", "uncertainty"]
    assert list(info["scoring"]) == ["dice", "uncertainty"]
    assert info["labels"] == ["lung"]
    assert info["datastore"] == {"total": 3, "completed": 0, "label_tags": {}}
    assert "not a medical device" in info["description"]
    assert info["train_stats"]["spine"]["version"] == 1


def test_a_listed_image_is_segmented_and_kept_as_a_label_if_that_is_wanted(app: Application) -> None:
    result = app.infer({"model": "lung_xray", "image": "chest01_ap", "save_label": True})
    file = Path(result["file"])
    kept = Path(app.datastore().get_label_uri("chest01_ap", "original"))
    assert result["label"] == "chest01_ap"
    assert kept.read_bytes() == file.read_bytes()
    file.unlink()
    assert app.datastore().get_label_info("chest01_ap", "original")["version"] == 1


@pytest.mark.parametrize("image", ["/etc/passwd", "../chest01_ap", "nobody", "", "/proc/self/environ"])
def test_an_image_that_isnt_listed_is_not_read(app: Application, image: str) -> None:
    with pytest.raises(Refused, match="not in the datastore") as told:
        app.infer({"model": "lung_xray", "image": image})
    assert told.value.status_code == 404


def test_a_path_of_the_store_itself_is_no_image(app: Application) -> None:
    with pytest.raises(Refused) as told:
        app.infer({"model": "lung_xray", "image": str(next((Path(app.studies)).glob("*.png")))})
    assert told.value.status_code == 404
    forged = {"session": {"image": "/etc/passwd"}, "image": "/etc/passwd", "model": "lung_xray"}
    with pytest.raises(Refused):
        app.infer(forged)


def test_an_image_of_a_session_is_segmented(app: Application, tmp_path: Path) -> None:
    upload = tmp_path / "upload.png"
    upload.write_bytes(next(Path(app.studies).glob("*.png")).read_bytes())
    session_id, session = app.sessions().add_session(str(upload))
    result = app.infer({"model": "lung_xray", "image": session.image, "session": session.to_json()})
    assert pixels(Path(result["file"])).any()
    Path(result["file"]).unlink()
    app.sessions().remove_session(session_id)


@pytest.mark.parametrize(
    ("call", "request_", "line"),
    [
        ("infer", {"model": "x", "image": "chest01_ap"}, "no model 'x' here; there are lung_xray, spine"),
        ("train", {"model": "x"}, "no model 'x' here"),
        ("train", {}, "no model '' here"),
        ("scoring", {"method": "x"}, "no scoring method 'x'; there are dice, uncertainty"),
        ("next_sample", {"strategy": "x"}, "no strategy 'x'; there are random, uncertainty"),
    ],
)
def test_what_there_isnt_is_refused_in_a_line(app: Application, call: str, request_: dict[str, Any], line: str) -> None:
    with pytest.raises(Refused, match=line) as told:
        getattr(app, call)(request_)
    assert told.value.status_code == 404


def test_the_next_sample_is_an_image_without_a_label(app: Application) -> None:
    for image in ("chest01_ap", "chest01_pa"):
        app.datastore().save_label(image, str(truth(image)), "final", {})
    assert app.next_sample({})["id"] == "chest02_ap"
    app.datastore().save_label("chest02_ap", str(truth("chest02_ap")), "final", {})
    assert app.next_sample({"strategy": "random"}) == {}


def test_a_bad_image_doesnt_end_a_batch(app: Application) -> None:
    (Path(app.studies) / "bad.png").write_bytes(b"junk")
    app.datastore().save_label("chest01_ap", str(truth("chest01_ap")), "final", {})
    result = app.batch_infer({"model": "lung_xray", "images": "unlabeled", "device": "cuda", "multi_gpu": True})
    assert result.pop("bad").startswith("bad: not readable as PNG or JPEG")
    assert result == {"chest01_pa": "done", "chest02_ap": "done"}
    assert app.datastore().status()["label_tags"] == {"final": 1, "original": 2}
    with pytest.raises(Refused, match="spine has no weights yet"):
        app.batch_infer({"model": "spine"})


@pytest.mark.parametrize(
    ("change", "error", "line"),
    [
        ({"workspace": ""}, ConfigError, "--conf workspace DIR is missing"),
        ({"bundles": "spin"}, ConfigError, "no bundle 'spin'; there are"),
        ({"devise": "cpu"}, ConfigError, "--conf devise: unknown"),
        ({"device": "tpu"}, ConfigError, "device 'tpu' is not known"),
        ({"weights": "spine"}, ConfigError, "write NAME=FILE"),
        ({"weights": "lung_ct=/x.pt"}, ConfigError, "NAME one of lung_xray, spine"),
    ],
)
def test_a_wrong_configuration_is_a_line_with_the_remedy(
    tmp_path: Path, conf: dict[str, str], change: dict[str, str], error: type[Exception], line: str
) -> None:
    with pytest.raises(error, match=line):
        Application(str(tmp_path), str(tmp_path), {**conf, **change})


def test_weights_that_arent_there_are_told(tmp_path: Path) -> None:
    conf = {"bundles": "spine", "workspace": str(tmp_path / "w"), "weights": f"spine={tmp_path / 'none.pt'}"}
    with pytest.raises(WeightsError, match="no such weights file for spine"):
        Application(str(tmp_path), str(tmp_path), conf)
