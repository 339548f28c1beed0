"""Scores: Dice of submitted labels with predicted ones, by the house's rule for empty masks."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monailabel")

from label_app import first_versions, pixels, radiographs, truth

from radseg.pipelines.io import write_mask_png
from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.store.datastore import LabelStore
from radseg.pipelines.label_server.tasks.scoring import Dice, Uncertain


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(radiographs(tmp_path / "studies", 3))


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    return first_versions(tmp_path / "workspace", "lung_xray")


def submit(store: LabelStore, image: str, tag: str, mask: np.ndarray, folder: Path) -> None:
    write_mask_png(folder / "label.png", mask)
    store.save_label(image, str(folder / "label.png"), tag, {})


def test_dice_of_final_with_original_labels(store: LabelStore, serving: Serving, tmp_path: Path) -> None:
    one, other, third = store.list_images()
    whole = np.ones(pixels(truth(one)).shape, np.uint8)
    half = whole.copy()
    half[: half.shape[0] // 2] = 0
    share = half.mean()
    submit(store, one, "final", whole, tmp_path)
    submit(store, one, "original", half, tmp_path)
    empty = np.zeros(pixels(truth(other)).shape, np.uint8)
    submit(store, other, "final", empty, tmp_path)
    submit(store, other, "original", empty, tmp_path)
    submit(store, third, "final", whole[: pixels(truth(third)).shape[0]], tmp_path)  # nothing to compare with
    result = Dice(serving)({}, store)
    assert result["images"] == {one: {"1": round(float(2 * share / (1 + share)), 4)}, other: {"1": 1.0}}
    assert result["mean"]["1"] == pytest.approx((result["images"][one]["1"] + 1) / 2, abs=1e-4)
    assert store.get_label_info(one, "final")["dice"] == {"against": "original", **result["images"][one]}


def test_dice_of_the_serving_version(store: LabelStore, serving: Serving) -> None:
    image = store.list_images()[0]
    store.save_label(image, str(truth(image)), "final", {})
    result = Dice(serving)({"model": "lung_xray"}, store)
    assert result["against"] == "lung_xray version 1"
    assert 0.5 < result["images"][image]["1"] <= 1


def test_nothing_to_compare_is_told(store: LabelStore, serving: Serving) -> None:
    with pytest.raises(Refused, match="no image has both") as told:
        Dice(serving)({}, store)
    assert told.value.status_code == 409
    with pytest.raises(Refused, match="no model 'x' here"):
        Dice(serving)({"model": "x"}, store)


def test_a_label_damaged_on_disk_is_left_out_and_named(store: LabelStore, serving: Serving) -> None:
    for image in store.list_images()[:2]:
        for tag in ("final", "original"):
            store.save_label(image, str(truth(image)), tag, {})
    bad = store.list_images()[0]
    Path(store.get_label_uri(bad, "original")).write_bytes(b"junk")
    result = Dice(serving)({}, store)
    assert result["unreadable"] == [bad]
    assert result["mean"] == {"1": 1.0}


def test_uncertainty_of_all_images_without_a_label(store: LabelStore, serving: Serving) -> None:
    labelled = store.list_images()[0]
    store.save_label(labelled, str(truth(labelled)), "final", {})
    result = Uncertain(serving)({}, store)
    assert sorted(result["images"]) == store.list_images()[1:]
    assert Uncertain(serving)({}, store) == result
