"""From a bundle's name and overrides to MONAI's workflow; mistakes offer the nearest right thing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import radseg.bundles
from radseg.pipelines.bundle_loader import find_bundle, load_workflow, read_json
from radseg.pipelines.errors import ConfigError


def test_an_unknown_bundle_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no bundle 'spin': did you mean 'spine'"):
        find_bundle("spin")


def test_a_foreign_folder_needs_trust(tmp_path: Path) -> None:
    shutil.copytree(radseg.bundles.root("spine"), tmp_path / "mine")
    with pytest.raises(ConfigError, match="--trust-config"):
        find_bundle(tmp_path / "mine")
    assert find_bundle(tmp_path / "mine", trust_config=True) == tmp_path / "mine"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("max_epoch", "--max_epochs"),
        ("network_def#feature", "--network_def#features"),
        ("netwrk_def#features", "--network_def#features"),
        ("train#trainer#max_epoch", "--train#trainer#max_epochs"),
        ("preprocessing#transforms#3#lower", "--preprocessing#transforms#3#lower_hu"),
    ],
)
def test_a_misspelt_override_offers_the_nearest_key(key: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {nearest}\\?"):
        load_workflow("spine", "train", {key: 1})


@pytest.mark.parametrize("target", ["radseg.networks.LungFCN", "LungFCNN"])
def test_a_misspelt_network_offers_the_nearest(target: str, radseg: Callable[..., Any], tmp_path: Path) -> None:
    ended = radseg("train", "lung_xray", "-o", tmp_path / "run", "--network_def#_target_", target)
    assert ended.code == 2
    assert ended.err == f"error: _target_ '{target}' is not known; did you mean radseg.networks.LungFCNN?\n"


@pytest.mark.parametrize(("given", "nearest"), [("resnet5", "resnet50"), ("DenseNet", "densenet121"), ("vgg", "vgg16")])
def test_a_misspelt_encoder_offers_the_nearest(
    given: str, nearest: str, radseg: Callable[..., Any], tmp_path: Path
) -> None:
    ended = radseg("train", "pelvis_xray", "--network_def#encoder", given, "-o", tmp_path / "run")
    assert ended.code == 2
    assert f"got {given!r}: did you mean {nearest!r}?" in ended.err
    assert ended.err.count("\n") == 1


def test_an_argument_that_the_component_takes_may_be_new() -> None:
    workflow = load_workflow("spine", "train", {"network_def#without": ["aspp"]})
    assert workflow.parser["network_def#without"] == ["aspp"]


def test_spine_counts_from_the_bottom_where_the_config_says_so() -> None:
    for overrides, from_bottom in (({}, False), ({"from_bottom": True}, True)):
        workflow = load_workflow("spine", "inference", overrides)
        assert workflow.parser.get_parsed_content("statistics").from_bottom is from_bottom


def test_arguments_are_those_of_the_component_that_an_override_puts_there() -> None:
    unet = {"network_def#_target_": "monai.networks.nets.BasicUNet"}
    load_workflow("lung_ct", "train", {**unet, "network_def#upsample": "nontrainable"})
    with pytest.raises(ConfigError, match="network_def#upsample"):
        load_workflow("lung_ct", "train", {"network_def#upsample": "nontrainable"})
    with pytest.raises(ConfigError, match="did you mean --network_def#upsample"):
        load_workflow("lung_ct", "train", {**unet, "network_def#upsampel": "nontrainable"})


def test_a_whole_component_given_as_an_override_is_told_by_its_ids() -> None:
    unet = {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 1}
    overrides = {"network_def": unet, "image_size": 64, "device": "cpu"}
    told = load_workflow("lung_ct", "evaluate", overrides).parser.get_parsed_content("overrides")
    assert told == {**{f"network_def#{name}": value for name, value in unet.items()}, "image_size": 64}
    assert json.loads(json.dumps(told)) == told


def test_a_file_name_is_never_run_as_code(tmp_path: Path) -> None:
    trap = "$__import__('pathlib').Path('TRAP').touch() or 'x'"
    workflow = load_workflow("spine", "inference", {"dataset_dir": trap, "output_dir": "@out", "weights": "%d"})
    for key in ("dataset_dir", "output_dir", "weights"):
        assert Path(workflow.parser[key]).is_absolute()
    workflow.parser.parse()
    assert workflow.parser.get_parsed_content("dataset_dir").endswith(trap)
    assert not Path("TRAP").exists()
    with pytest.raises(ConfigError, match="is an expression, which is code"):
        load_workflow("spine", "inference", {"overlap": trap})
    with pytest.raises(ConfigError, match="is an expression, which is code"):
        load_workflow("spine", "inference", {"network_def": {"_target_": "monai.x", "features": [trap]}})


@pytest.mark.parametrize(
    ("key", "value", "wants"),
    [
        ("max_epochs", "abc", "a number, such as 150"),
        ("max_epochs", 1.5, "a number, such as 150"),
        ("amp", "maybe", "true or false"),
        ("spacing_mm", 3, "a list of 3"),
        ("spacing_mm", [1, 1], "a list of 3"),
        ("seed", True, "a number"),
    ],
)
def test_a_value_of_another_kind_says_what_is_wanted(key: str, value: object, wants: str) -> None:
    with pytest.raises(ConfigError, match=f"--{key} takes {wants}"):
        load_workflow("spine", "train", {key: value})


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"seed": 1, "seed": 2}')
    with pytest.raises(ConfigError, match="'seed' stands there twice"):
        read_json(tmp_path / "train.json")


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{\n"seed": 1,\n}')
    with pytest.raises(ConfigError, match="line 3"):
        read_json(tmp_path / "train.json")


def test_a_copied_bundle_knows_its_own_root(tmp_path: Path) -> None:
    shutil.copytree(radseg.bundles.root("spine"), tmp_path / "mine")
    workflow = load_workflow(tmp_path / "mine", "inference", trust_config=True)
    assert workflow.parser["bundle_root"] == str(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / "metadata.json").read_text())["version"] == "0.1.0"
