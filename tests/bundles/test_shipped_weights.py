"""The weights that ship are small, are what metadata.json says, and come from a recipe that anybody can run again."""

import json
from pathlib import Path

import pytest

import radseg.bundles
from radseg.pipelines.bundle_loader import load_workflow, read_json
from radseg.pipelines.experiments.ship_weights import LARGEST
from radseg.pipelines.validate import validate
from radseg.pipelines.weights import sha256_of

FOLDERS = sorted(file.parent for file in Path(radseg.bundles.root("spine")).parent.glob("*/metadata.json"))
SHIPPING = [folder for folder in FOLDERS if (folder / "models" / "model.pt").is_file()]


@pytest.mark.parametrize("folder", SHIPPING, ids=lambda folder: folder.name)
def test_weights_are_those_of_metadata_and_fit_the_network(folder: Path) -> None:
    about = json.loads((folder / "metadata.json").read_text())
    file = folder / "models" / "model.pt"
    assert about["weights_sha256"] == sha256_of(file)
    assert file.stat().st_size <= LARGEST
    assert "none yet" not in about["data_source"]
    assert about["eval_metrics"]
    assert validate(folder) == []


def test_all_weights_together_stay_below_66_mb() -> None:
    assert sum((folder / "models" / "model.pt").stat().st_size for folder in SHIPPING) <= 66_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_says_whether_there_are_weights_and_where_they_come_from(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    if folder not in SHIPPING:
        assert "**Weights.** None yet" in card
        return
    for promised in ("**Weights.**", "Trained on", "Licence", "Seed", "recipe.json", "never trained on"):
        assert promised in card, promised


@pytest.mark.parametrize("folder", SHIPPING, ids=lambda folder: folder.name)
def test_the_recipe_is_one_of_this_bundle_and_holds_no_code(folder: Path) -> None:
    for file in (folder / "recipe.json", *folder.glob("recipe_*.json")):
        recipe = read_json(file)
        # refuses unknown keys, and code without trust_config
        config = load_workflow(folder.name, "train", recipe).parser
        assert {key: config[key] for key in recipe} == recipe
        assert config.get_parsed_content("train#dataset").transform is not None
        assert callable(config.get_parsed_content("augmentation"))
