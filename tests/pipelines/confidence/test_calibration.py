"""From `evaluate --calibrate` to `segment --temperature`: how sure a mask is changes, the mask doesn't."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.evaluate import evaluate
from radseg.pipelines.segment import Batch, segment

SAMPLES = Path(__file__).parents[3] / "sample_data"


@pytest.fixture
def settings(small_weights: dict[str, Path], small: dict[str, Any]) -> Callable[[str], dict[str, Any]]:
    return lambda bundle: {"weights": str(small_weights[bundle]), "progress": False, **small[bundle]}


@pytest.mark.parametrize("bundle", ["lung_ct", "spine", "lung_xray"])
def test_a_temperature_is_fitted_on_validation_and_betters_what_it_was_fitted_on(
    bundle: str, settings: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    result = evaluate(bundle, split="validation", calibrate=True, output_dir=str(tmp_path / "once"), **settings(bundle))
    fitted = json.loads((tmp_path / "once" / "temperature.json").read_text())
    calibration = result["calibration"]
    assert fitted["temperature"] == calibration["temperature"] > 0
    assert fitted["nll_after"] <= fitted["nll_before"]
    assert fitted["simulated"]
    assert fitted["weights_sha256"] == result["weights_sha256"]
    assert calibration["fitted_on_these_cases"]
    assert "15 bins" in calibration["convention"]
    for when in ("before", "after"):
        errors = calibration[when]
        assert 0 <= errors["error_near"] <= 1
        assert 0 <= errors["error_all"] <= 1
        assert 0 < errors["voxels_near"] <= errors["voxels_all"]
        assert sum(row["voxels"] for row in errors["diagram_near"]) == errors["voxels_near"]
    # an untrained network is far from honest: a fit that helps its likelihood helps its calibration
    assert calibration["after"]["error_near"] < calibration["before"]["error_near"]


def test_without_a_temperature_the_error_is_told_all_the_same_and_the_scores_stay(
    settings: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    plain = evaluate("lung_ct", output_dir=str(tmp_path / "plain"), **settings("lung_ct"))
    assert plain["calibration"]["after"] is None
    assert plain["calibration"]["before"]["error_all"] > 0
    assert not (tmp_path / "plain" / "temperature.json").exists()
    warm = evaluate("lung_ct", output_dir=str(tmp_path / "warm"), temperature=3.0, **settings("lung_ct"))
    assert warm["calibration"]["before"] == plain["calibration"]["before"]
    assert warm["calibration"]["after"]["error_near"] != plain["calibration"]["before"]["error_near"]
    for one, other in zip(plain["rows"], warm["rows"], strict=True):
        assert one["metrics"]["dice"] == other["metrics"]["dice"]
    with pytest.raises(ConfigError, match="leave out either"):
        evaluate("lung_ct", output_dir=str(tmp_path), temperature=3.0, calibrate=True, **settings("lung_ct"))


def _segmented(bundle: str, image: Path, out: Path, **options: Any) -> tuple[Batch, dict[str, Any], np.ndarray]:
    batch = segment(bundle, image, out, **options)
    folder = batch.output_dir / batch.done[0]
    mask = np.asarray(nib.load(folder / "mask.nii.gz").dataobj)
    return batch, json.loads((folder / "statistics.json").read_text()), mask


def test_the_mask_is_the_same_at_any_temperature_and_its_confidence_is_not(
    settings: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    image = SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz"
    options = {**settings("lung_ct"), "tta": "flips"}
    _, plain, mask = _segmented("lung_ct", image, tmp_path / "plain", **options)
    _, warm, same = _segmented("lung_ct", image, tmp_path / "warm", temperature=4.0, **options)
    assert mask.any()
    assert np.array_equal(mask, same)
    assert warm["temperature"] == 4.0
    assert "temperature" not in plain
    assert warm["confidence"] < plain["confidence"]
    assert warm["regions"][0]["mean_entropy"] > plain["regions"][0]["mean_entropy"]
    assert warm["regions"][0]["disagreement"] == plain["regions"][0]["disagreement"]
    assert plain["disagreement"]["voxels"] >= plain["disagreement_elsewhere"]["voxels"]


def test_regions_of_a_single_pass_are_said_too_and_flags_stand_beside_them(
    settings: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    image = SAMPLES / "spine" / "imagesTr" / "spine04.nii.gz"
    batch, statistics, mask = _segmented("lung_ct", image, tmp_path, **settings("lung_ct"))
    assert mask.any() == bool(statistics["regions"])
    assert "confidence" not in statistics
    assert "disagreement" not in statistics
    (flag,) = statistics["flags"]
    assert flag.startswith("this doesn't look like a chest")
    assert flag in statistics["warnings"]
    assert flag in batch.warnings["spine04"]
    line = json.loads((tmp_path / "manifest.jsonl").read_text())
    assert line["flags"] == [flag]


def test_a_temperature_of_other_weights_is_refused(
    settings: Callable[[str], dict[str, Any]], tmp_path: Path, small_weights: dict[str, Path]
) -> None:
    file = tmp_path / "temperature.json"
    file.write_text(json.dumps({"temperature": 2.0, "weights_sha256": "0" * 64}))
    image = SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz"
    with pytest.raises(ConfigError, match="fitted for other weights"):
        segment("lung_ct", image, tmp_path / "OUT", temperature=str(file), **settings("lung_ct"))
    assert torch.load(small_weights["lung_ct"], weights_only=True)


def test_the_command_line_fits_writes_and_uses_it(
    radseg: Callable[..., Any],
    small_options: Callable[[str], list[str]],
    small_weights: dict[str, Path],
    tmp_path: Path,
) -> None:
    common = ["--weights", small_weights["lung_xray"], *small_options("lung_xray")]
    ended = radseg("evaluate", "lung_xray", "--calibrate", "-o", tmp_path / "scores", *common)
    assert ended.code == 0, ended.err
    assert "expected calibration error 0." in ended.out
    assert "; at temperature " in ended.out
    image = sorted((SAMPLES / "lung_xray" / "imagesTr").iterdir())[0]
    file = tmp_path / "scores" / "temperature.json"
    ended = radseg("segment", "lung_xray", image, "-o", tmp_path / "masks", "--temperature", file, *common)
    assert ended.code == 0, ended.err
    (statistics,) = (tmp_path / "masks").glob("*/statistics.json")
    content = json.loads(statistics.read_text())
    assert content["temperature"] == json.loads(file.read_text())["temperature"]
    assert str(tmp_path) not in statistics.read_text()
