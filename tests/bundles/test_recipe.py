"""A bundle says its recipe in three configs; they must say the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Lambdad

import radseg.bundles
from radseg.pipelines.bundle_loader import load_workflow

NAMES = radseg.bundles.names()


def _read(bundle: str, config: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(radseg.bundles.root(bundle)) / f"{config}.json").read_text())
    return content


@pytest.mark.parametrize("bundle", NAMES)
@pytest.mark.parametrize("part", ["loader", "preprocessing", "network_def", "labels"])
def test_training_evaluation_and_inference_prepare_alike(bundle: str, part: str) -> None:
    train, evaluate, inference = (_read(bundle, config)[part] for config in ("train", "evaluate", "inference"))
    assert train == evaluate == inference


@pytest.mark.parametrize("bundle", NAMES)
@pytest.mark.parametrize("part", ["loader", "inferer", "postprocessing", "predictor"])
def test_evaluation_scores_what_segmentation_gives(bundle: str, part: str) -> None:
    assert _read(bundle, "evaluate")[part] == _read(bundle, "inference")[part]


@pytest.mark.parametrize("bundle", NAMES)
def test_what_the_three_share_has_one_default(bundle: str) -> None:
    shared = (
        "modality",
        "min_slices",
        "spacing_mm",
        "window_hu",
        "roi_size",
        "image_size",
        "blur_size",
        "gradient_size",
        "gradient_times",
        "encoder_padding",
        "clahe_clip_limit",
        "clahe_tiles",
        "spatial_dims",
        "out_channels",
    )
    train, evaluate, inference = (_read(bundle, config) for config in ("train", "evaluate", "inference"))
    for key in shared:
        assert train.get(key) == evaluate.get(key) == inference.get(key), key


@pytest.mark.parametrize("bundle", NAMES)
def test_a_probability_becomes_a_mask_by_one_set_of_numbers(bundle: str) -> None:
    numbers = (
        "threshold",
        "local_block",
        "local_offset",
        "local_floor",
        "opening",
        "closing",
        "minimum_volume_mm3",
        "minimum_share",
        "stray_within_mm",
        "stray_share",
        "beside_mm",
        "guided_mm",
        "sw_batch_size",
    )
    evaluate, inference = (_read(bundle, config) for config in ("evaluate", "inference"))
    assert [evaluate.get(number) for number in numbers] == [inference.get(number) for number in numbers]


@pytest.mark.parametrize("bundle", NAMES)
@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
def test_a_step_of_one_s_own_can_go_before_the_others(bundle: str, config: str, tmp_path: Path) -> None:
    mine = tmp_path / bundle
    shutil.copytree(radseg.bundles.root(bundle), mine)
    content = _read(bundle, config)
    own = {"_target_": "Lambdad", "keys": "image", "func": "$lambda image: image"}
    content["preprocessing"]["transforms"].insert(1, own)
    (mine / f"{config}.json").write_text(json.dumps(content))
    overrides = {"fracture_prob": 1.0} if (bundle, config) == ("spine", "train") else {}
    parser = load_workflow(mine, config, overrides, trust_config=True).parser
    parser.parse()
    assert isinstance(parser.get_parsed_content("preprocessing").transforms[1], Lambdad)
    for part in ("train#dataset", "validate#dataset") if config == "train" else ("predictor",):
        assert parser.get_parsed_content(part) is not None


@pytest.mark.parametrize("bundle", NAMES)
@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
def test_no_config_writes_below_the_bundle(bundle: str, config: str) -> None:
    assert _read(bundle, config)["output_dir"].startswith("runs/")


@pytest.mark.parametrize(("out_channels", "kept"), [(3, [1, 2]), (1, [1, 2, 3])])
def test_spine_drops_a_mark_far_from_the_column_but_not_one_fracture_of_two(out_channels: int, kept: list[int]) -> None:
    workflow = load_workflow("spine", "inference", {"out_channels": out_channels})
    mask = torch.zeros(1, 60, 20, 60, dtype=torch.uint8)
    places = [np.s_[0, 2:18, 2:18, 2:18], np.s_[0, 2:12, 2:12, 22:32], np.s_[0, 50:56, 2:8, 2:9]]
    for place, label in zip(places, (1, 2, 1) if out_channels == 3 else (1, 1, 1), strict=True):
        mask[place] = label
    cleaned = workflow.parser.get_parsed_content("postprocessing")({"pred": MetaTensor(mask, affine=torch.eye(4))})
    values = [cleaned["pred"][place] for place in places]
    assert [number for number, value in enumerate(values, start=1) if value.all()] == kept
    assert [number for number, value in enumerate(values, start=1) if value.any()] == kept


def test_the_spine_labels_are_the_metadata_s() -> None:
    workflow = load_workflow("spine", "inference")
    workflow.parser.parse()
    definition = workflow.parser["_meta_#network_data_format#outputs#pred#channel_def"]
    assert workflow.parser.get_parsed_content("labels") == [definition["1"], definition["2"]]
