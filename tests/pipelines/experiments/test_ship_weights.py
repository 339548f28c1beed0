"""Weights ship small, checked and named by their sha256, with the scores of cases that nobody trained on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_results import made_up

import radseg.bundles
from radseg.networks import LungUNet
from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.experiments import ship_weights as module
from radseg.pipelines.experiments.results import write_results
from radseg.pipelines.experiments.ship_weights import main, ship_weights
from radseg.pipelines.validate import validate
from radseg.pipelines.weights import load_weights, sha256_of


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "lung_xray"
    shutil.copytree(radseg.bundles.root("lung_xray"), folder, ignore=shutil.ignore_patterns("models"))
    return folder


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "run" / "model.pt"
    file.parent.mkdir()
    torch.save(LungUNet(1, 1).state_dict(), file)
    return file


def test_weights_get_half_the_size_and_stay_the_same_to_float16(bundle: Path, trained: Path) -> None:
    file = ship_weights(bundle, trained, {"dice": 0.987654}, trust_config=True)
    assert file == bundle / "models" / "model.pt"
    assert file.stat().st_size < 0.53 * trained.stat().st_size
    shipped, whole = load_weights(LungUNet(1, 1), file, bundle).state_dict(), torch.load(trained, weights_only=True)
    for name, value in whole.items():
        torch.testing.assert_close(shipped[name], value, rtol=1e-3, atol=1e-7)
    before = json.loads(Path(radseg.bundles.root("lung_xray"), "metadata.json").read_text())
    after = json.loads((bundle / "metadata.json").read_text())
    assert after == {**before, "weights_sha256": sha256_of(file), "eval_metrics": {"dice": 0.9877}}
    assert validate(bundle, trust_config=True) == []


def test_the_same_weights_ship_as_the_same_bytes(bundle: Path, trained: Path) -> None:
    first = sha256_of(ship_weights(bundle, trained, trust_config=True))
    assert sha256_of(ship_weights(bundle, trained, trust_config=True)) == first


def test_scores_come_from_a_cross_validation_and_say_if_they_are_simulated(
    bundle: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(made_up({"lung_xray": 0.9}, labels=["lung"], simulated=True), tmp_path)
    main([str(bundle), str(trained), str(tmp_path), "--trust-config"])
    assert "model.pt" in capsys.readouterr().out
    metrics = json.loads((bundle / "metadata.json").read_text())["eval_metrics"]
    assert metrics["simulated lung dice, cross-validated"] == pytest.approx(0.9, abs=0.05)


def test_a_bundle_without_room_for_them_keeps_the_weights_that_it_has(bundle: Path, trained: Path) -> None:
    file = ship_weights(bundle, trained, trust_config=True)
    metadata, before = bundle / "metadata.json", file.read_bytes()
    about = json.loads(metadata.read_text())
    del about["eval_metrics"]
    metadata.write_text(json.dumps(about))
    torch.manual_seed(1)
    torch.save(LungUNet(1, 1).state_dict(), trained)
    with pytest.raises(ConfigError, match=r"metadata.json: has no weights_sha256 or eval_metrics to fill"):
        ship_weights(bundle, trained, trust_config=True)
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == ["model.pt"]


def _too_large(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value * 1e9 if name.endswith("weight") else value for name, value in state.items()}


def _of_another(state: dict[str, Any]) -> dict[str, Any]:
    return dict(list(state.items())[1:])


@pytest.mark.parametrize(("spoil", "said"), [(_too_large, "beyond float16"), (_of_another, "is missing")])
def test_what_cant_ship_leaves_the_bundle_as_it_was(bundle: Path, trained: Path, spoil: Any, said: str) -> None:
    torch.save(spoil(torch.load(trained, weights_only=True)), trained)
    before = (bundle / "metadata.json").read_bytes()
    with pytest.raises(WeightsError, match=said):
        ship_weights(bundle, trained, trust_config=True)
    assert (bundle / "metadata.json").read_bytes() == before
    assert not (bundle / "models").exists()


def test_metadata_without_a_place_for_the_sha256_is_told(bundle: Path, trained: Path) -> None:
    about = json.loads((bundle / "metadata.json").read_text())
    del about["weights_sha256"]
    (bundle / "metadata.json").write_text(json.dumps(about))
    with pytest.raises(ConfigError, match="has no weights_sha256"):
        ship_weights(bundle, trained, trust_config=True)


def test_weights_that_are_too_large_are_refused(
    bundle: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    with pytest.raises(SystemExit, match="2"):
        main([str(bundle), str(trained), "--trust-config"])
    assert "MB in float16, at most 1 MB ship" in capsys.readouterr().err
