"""Which image comes next: never one that has its label, the least sure first."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monailabel")

from label_app import first_versions, radiographs, truth
from untrained import first_version_untrained

from radseg.pipelines.engine.prediction import Effort, Prediction
from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.store.datastore import LabelStore
from radseg.pipelines.label_server.tasks import strategies
from radseg.pipelines.label_server.tasks.strategies import Chance, Uncertainty, known, uncertainty_of


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(radiographs(tmp_path / "studies", 6))


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    first_version_untrained(tmp_path / "workspace", "spine", tmp_path / "untrained")
    return first_versions(tmp_path / "workspace", "spine", "lung_xray")


def prediction(mask: np.ndarray, uncertainty: np.ndarray | None) -> Prediction:
    return Prediction(mask.astype(np.uint8), {}, Effort("torch", "exact", 2, 1, 1), uncertainty=uncertainty)


def test_by_chance_every_image_without_a_label_can_come_and_no_other(store: LabelStore) -> None:
    labelled = store.list_images()[0]
    store.save_label(labelled, str(truth(labelled)), "final", {})
    drawn = {Chance()({"strategy": "random"}, store)["id"] for _ in range(200)}
    assert drawn == set(store.list_images()) - {labelled}


def test_when_all_have_labels_nothing_comes(store: LabelStore, serving: Serving) -> None:
    for image in store.list_images():
        store.save_label(image, str(truth(image)), "final", {})
    assert Chance()({"strategy": "random"}, store) is None
    assert Uncertainty(serving)({}, store) is None


def test_the_least_sure_comes_first_and_what_was_found_out_is_kept(
    store: LabelStore, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    doubts = {image: 40 * number for number, image in enumerate(store.list_images(), 1)}
    predict = serving.predict

    def doubtful(name: str, source: Path, tta: str | None = None) -> object:
        asked.append(source.stem)
        assert (name, tta) == ("lung_xray", "flips")
        found = type("Found", (), {})()
        found.version = serving.versions.serving(name)
        found.prediction = prediction(np.ones((2, 2, 1)), np.full((2, 2, 1), doubts[source.stem], np.uint8))
        return found

    monkeypatch.setattr(serving, "predict", doubtful)
    strategy = Uncertainty(serving)
    first = strategy({}, store)
    assert first is not None
    assert first["id"] == store.list_images()[3]  # of the four that are looked at while a client waits
    second = strategy({}, store)
    assert second is not None
    assert (second["id"], second["scored"]) == (store.list_images()[5], 6)
    strategy({}, store)
    assert sorted(asked) == store.list_images()  # each once
    assert known(store, store.list_images(), serving, "lung_xray")["chest03_pa"] == second["weight"]
    assert predict is not None


def test_what_an_older_version_was_unsure_of_is_found_out_anew(store: LabelStore, serving: Serving) -> None:
    image = store.list_images()[0]
    kept = {"lung_xray": {"score": 0.9, "weights_sha256": "of another version"}}
    store.update_image_info(image, {"uncertainty": kept})
    assert known(store, [image], serving, "lung_xray") == {}


def test_a_real_model_is_asked_over_mirror_images(store: LabelStore, serving: Serving) -> None:
    found = strategies.find_out(store, store.list_images()[:1], serving, "lung_xray")
    assert 0 < found["chest01_ap"] < 1


def test_uncertainty_counts_what_has_a_label_or_is_undecided() -> None:
    mask, doubt = np.zeros((10, 10, 1)), np.zeros((10, 10, 1), np.uint8)
    assert uncertainty_of(prediction(mask, doubt)) == 0
    mask[0, 0], doubt[0, 0] = 1, 51
    assert uncertainty_of(prediction(mask, doubt)) == pytest.approx(0.2)
    doubt[5, 5] = 255  # undecided where the mask is empty
    assert uncertainty_of(prediction(mask, doubt)) == pytest.approx(0.6)
    doubt[6, 6] = 100  # rather sure that nothing is there
    assert uncertainty_of(prediction(mask, doubt)) == pytest.approx(0.6)
    assert uncertainty_of(prediction(mask, None)) == 0


def test_models_that_there_arent_or_that_have_no_weights_are_told(store: LabelStore, serving: Serving) -> None:
    with pytest.raises(Refused, match="no model 'x' here") as told:
        Uncertainty(serving)({"model": "x"}, store)
    assert told.value.status_code == 404
    with pytest.raises(Refused, match="use the strategy random") as told:
        Uncertainty(serving)({"model": "spine"}, store)
    assert told.value.status_code == 409


def test_an_image_that_cant_be_read_doesnt_keep_the_others_from_coming(store: LabelStore, serving: Serving) -> None:
    (store.folder / "aaa.png").write_bytes(b"junk")
    chosen = Uncertainty(serving)({"model": "lung_xray"}, store)
    assert chosen is not None
    assert chosen["id"] != "aaa"
