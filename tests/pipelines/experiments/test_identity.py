"""What a folder of results says of its settings: what was computed with, not where it lay."""

from collections.abc import Callable
from pathlib import Path

import pytest

from radseg.pipelines import progress_lines
from radseg.pipelines.errors import InputError, WeightsError
from radseg.pipelines.experiments.identity import dataset_sha256, recorded
from radseg.pipelines.weights import sha256_of


@pytest.mark.parametrize("key", ["weights", "encoder_weights"])
def test_weights_are_told_by_what_they_hold(key: str, tmp_path: Path) -> None:
    one, moved, other = (tmp_path / name for name in ("one.pt", "moved.pt", "other.pt"))
    for file, content in ((one, b"1"), (moved, b"1"), (other, b"2")):
        file.write_bytes(content)
    assert recorded({key: str(one), "seed": 1}) == {key: f"sha256:{sha256_of(one)}", "seed": 1}
    assert recorded({key: str(one)}) == recorded({key: str(moved)}) != recorded({key: str(other)})


def test_weights_of_each_fold_are_told(tmp_path: Path) -> None:
    for fold in range(2):
        (tmp_path / f"{fold}.pt").write_bytes(bytes([fold]))
    told = recorded({"weights": str(tmp_path / "{fold}.pt")}, folds=2)
    assert told == {"weights": " ".join(f"sha256:{sha256_of(tmp_path / f'{fold}.pt')}" for fold in range(2))}


@pytest.mark.parametrize("key", ["weights", "encoder_weights"])
def test_weights_that_arent_there_are_told_with_their_option(key: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"gone.pt: can't be read \(.*\); correct --{key}"):
        recorded({key: str(tmp_path / "gone.pt")})


def test_places_are_nobodys_business(tmp_path: Path) -> None:
    assert recorded({"dataset_dir": str(tmp_path), "cache_dir": str(tmp_path), "max_epochs": 3}) == {"max_epochs": 3}


def test_a_dataset_that_isnt_there_is_told_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"datalist\.json: no such datalist; radseg data import writes one"):
        dataset_sha256(tmp_path / "nowhere" / "datalist.json", tmp_path / "nowhere")


def test_hashing_a_dataset_that_takes_long_says_how_far_it_is(
    new_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_lines, "_SILENCE_S", 1e-9)
    data = new_dataset(training=["a", "b"], validation=["c"], test=["t"])
    quiet, told = (dataset_sha256(data / "datalist.json", data, progress) for progress in (False, True))
    assert quiet == told
    assert "hashing the dataset: 1 of 4\n" in capsys.readouterr().err
