"""Weights: checked before they are read, never unpickled, written whole."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from radseg.networks import EncoderUNet
from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.weights import load_members, load_weights, save_weights, sha256_of, sha256_of_all, weights_files


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    (folder / "models").mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"weights_sha256": None}))
    return folder


def _network() -> torch.nn.Module:
    return torch.nn.Conv2d(1, 2, 3)


def test_saved_weights_come_back(tmp_path: Path, bundle: Path) -> None:
    network, other = _network(), _network()
    digest = save_weights(network, tmp_path / "model.pt")
    load_weights(other, tmp_path / "model.pt", bundle)
    assert torch.equal(network.weight, other.weight)
    assert digest == sha256_of(tmp_path / "model.pt")
    assert sorted(file.name for file in tmp_path.glob("model*")) == ["model.pt", "model.pt.sha256"]


def test_half_precision_files_are_widened(tmp_path: Path, bundle: Path) -> None:
    network = _network()
    torch.save({name: value.half() for name, value in network.state_dict().items()}, tmp_path / "half.pt")
    loaded = load_weights(_network(), tmp_path / "half.pt", bundle)
    assert loaded.weight.dtype == torch.float32
    assert torch.allclose(loaded.weight, network.weight, atol=1e-3)


def test_a_bundle_without_weights_says_how_to_get_them(bundle: Path) -> None:
    with pytest.raises(WeightsError, match=r"no trained weights yet.*radseg train toy.*--weights"):
        load_weights(_network(), bundle / "models" / "model.pt", bundle)


def test_weights_whose_sha256_differs_are_refused(tmp_path: Path, bundle: Path) -> None:
    save_weights(_network(), bundle / "models" / "model.pt")
    (bundle / "metadata.json").write_text(json.dumps({"weights_sha256": "0" * 64}))
    with pytest.raises(WeightsError, match="sha256"):
        load_weights(_network(), bundle / "models" / "model.pt", bundle)
    save_weights(_network(), tmp_path / "mine.pt")
    (tmp_path / "mine.pt.sha256").write_text("")
    with pytest.raises(WeightsError, match="is empty"):
        load_weights(_network(), tmp_path / "mine.pt", bundle)
    (tmp_path / "mine.pt.sha256").write_text("1" * 64 + "  mine.pt\n")
    with pytest.raises(WeightsError, match="sha256"):
        load_weights(_network(), tmp_path / "mine.pt", bundle)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must not run",))


def test_a_pickle_is_not_run(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(WeightsError, match="not a state dict that can be read safely"):
        load_weights(_network(), tmp_path / "evil.pt", bundle)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.nn.Conv2d(1, 3, 3), r"'weight' has shape \(3, 1, 3, 3\), this network wants \(2, 1, 3, 3\)"),
        (torch.nn.Conv2d(1, 2, 3, bias=False), "'bias' is missing"),
    ],
)
def test_weights_of_another_network_name_the_tensor(
    tmp_path: Path, bundle: Path, other: torch.nn.Module, message: str
) -> None:
    torch.save(other.state_dict(), tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=message):
        load_weights(_network(), tmp_path / "other.pt", bundle)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path, bundle: Path) -> None:
    state = _network().state_dict()
    state["weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"tensor 'weight' holds values that aren't numbers"):
        load_weights(_network(), tmp_path / "model.pt", bundle)


def test_weights_of_the_other_encoder_padding_are_refused_with_the_remedy(tmp_path: Path, bundle: Path) -> None:
    torch.save(EncoderUNet("mobilenetv2", padding="torch").state_dict(), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="was trained with encoder_padding torch; give the same --encoder_padding"):
        load_weights(EncoderUNet("mobilenetv2"), tmp_path / "model.pt", bundle)


def test_folds_are_the_networks_of_a_cross_validation(tmp_path: Path) -> None:
    assert weights_files("w/model.pt") == ["w/model.pt"]
    assert weights_files(tmp_path, [0, 3]) == [f"{tmp_path}/fold_0/model.pt", f"{tmp_path}/fold_3/model.pt"]
    assert weights_files("model.pt", 0) == ["./fold_0/model.pt"]
    assert weights_files("az://store/cv/model.pt", 1) == ["az://store/cv/fold_1/model.pt"]
    for wrong in ([], [1, 1], [-1], [True], ["0"]):
        with pytest.raises(ConfigError, match="different numbers from 0"):
            weights_files(tmp_path, wrong)


def test_each_fold_gets_a_network_of_its_own_and_all_are_in_the_hash(tmp_path: Path, bundle: Path) -> None:
    files: list[Path | str] = []
    for fold in range(2):
        torch.manual_seed(fold)
        (tmp_path / f"fold_{fold}").mkdir()
        save_weights(torch.nn.Linear(2, 1), tmp_path / f"fold_{fold}" / "model.pt")
        files.append(tmp_path / f"fold_{fold}" / "model.pt")
    first, second = load_members(torch.nn.Linear(2, 1), files, bundle)
    assert not torch.equal(first.weight, second.weight)
    torch.manual_seed(0)
    assert torch.equal(first.weight, torch.nn.Linear(2, 1).weight)
    assert sha256_of_all(files[:1]) == sha256_of(files[0])
    assert sha256_of_all(files) != sha256_of_all(files[::-1])


def test_a_folder_given_as_weights_says_what_in_it_to_give(tmp_path: Path, bundle: Path) -> None:
    folds, single, empty = (tmp_path / name for name in ("out", "run", "empty"))
    for number in (0, 2, 10):
        (folds / "full" / f"fold_{number}").mkdir(parents=True)
        (folds / "full" / f"fold_{number}" / "model.pt").touch()
    for folder in (single, empty):
        folder.mkdir()
    (single / "model.pt").touch()
    place = folds / "full"
    for given, said in (
        (place, f"--weights {place} --folds 0,2,10, or give one of them, such as {place / 'fold_0' / 'model.pt'}"),
        (folds, f"--weights {place} --folds 0,2,10"),
        (single, f"give {single / 'model.pt'}"),
        (empty, "give the model.pt that a training wrote"),
    ):
        with pytest.raises(WeightsError) as refused:
            load_weights(torch.nn.Linear(1, 1), given, bundle)
        assert str(refused.value).startswith(f"{given}: is a folder, not a weights file; ")
        assert said in str(refused.value)
