"""Versions of a model: the shipped one is never touched, a new one serves when whole, an old one can come back."""

import errno
import os
import threading
from pathlib import Path

import pytest
import torch
from untrained import first_version_untrained

import radseg.bundles
from radseg.networks import SpineFusionNet
from radseg.pipelines.errors import ConfigError, InputError, WeightsError
from radseg.pipelines.label_server.models import versions as module
from radseg.pipelines.label_server.models.versions import Versions
from radseg.pipelines.weights import sha256_of

SHIPPED = Path(radseg.bundles.root("lung_xray")) / "models" / "model.pt"


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path / "workspace")


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Other weights of the same network."""
    state = torch.load(SHIPPED, weights_only=True)
    state = {name: value * 0.5 if value.is_floating_point() else value for name, value in state.items()}
    torch.save(state, tmp_path / "others.pt")
    return tmp_path / "others.pt"


def test_version_1_is_a_packed_copy_of_what_the_bundle_ships(versions: Versions) -> None:
    folder = versions.prepare("lung_xray")
    (only,) = versions.list("lung_xray")
    assert (only.number, versions.current("lung_xray"), only.folder) == (1, 1, folder)
    assert (folder / "configs" / "inference.json").is_file()
    assert only.weights is not None
    assert only.weights.read_bytes() == SHIPPED.read_bytes()
    assert versions.prepare("lung_xray") == folder
    assert len(versions.list("lung_xray")) == 1


def test_a_new_version_serves_and_neither_the_shipped_nor_the_old_one_changes(versions: Versions, others: Path) -> None:
    old = versions.prepare("lung_xray")
    before = {file: file.read_bytes() for file in old.rglob("*") if file.is_file()}
    shipped = SHIPPED.read_bytes()
    assert versions.add("lung_xray", others, note={"labels": 3}) == 2
    serving = versions.serving("lung_xray")
    assert serving.number == 2
    assert serving.weights_sha256 == sha256_of(others)
    assert serving.note == {"labels": 3}
    assert {file: file.read_bytes() for file in old.rglob("*") if file.is_file()} == before
    assert SHIPPED.read_bytes() == shipped


def test_rolled_back_the_old_version_serves_and_the_newer_one_is_kept(versions: Versions, others: Path) -> None:
    versions.prepare("lung_xray")
    versions.add("lung_xray", others, note={})
    versions.roll_back("lung_xray", 1)
    assert versions.current("lung_xray") == 1
    assert [one.number for one in versions.list("lung_xray")] == [1, 2]
    assert versions.add("lung_xray", others, note={}) == 3
    versions.roll_back("lung_xray", 2)
    assert Versions(versions.workspace).current("lung_xray") == 2


def test_a_version_that_there_isnt_is_refused_with_those_that_there_are(versions: Versions) -> None:
    versions.prepare("lung_xray")
    with pytest.raises(InputError, match=r"^lung_xray has no version 7; it has 1$"):
        versions.roll_back("lung_xray", 7)
    assert versions.current("lung_xray") == 1


def test_a_full_disk_leaves_the_old_version_serving_and_nothing_half_written(
    versions: Versions, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.prepare("lung_xray")

    def full(name: str, output: Path, **options: object) -> Path:
        (output / name).mkdir(parents=True)
        (output / name / "half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "pack", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        versions.add("lung_xray", others, note={})
    assert versions.current("lung_xray") == 1
    home = versions.workspace / "lung_xray"
    assert sorted(one.name for one in home.iterdir()) == [".lock", "current.json", "v0001"]


def test_what_a_killed_server_left_half_packed_is_no_version_and_is_cleared(versions: Versions, others: Path) -> None:
    versions.prepare("lung_xray")
    left = versions.workspace / "lung_xray" / ".0123.part" / "lung_xray"
    left.mkdir(parents=True)
    assert [one.number for one in versions.list("lung_xray")] == [1]
    assert versions.add("lung_xray", others, note={}) == 2
    assert not left.exists()


def test_killed_before_the_first_version_was_said_to_serve_it_serves_after_all(versions: Versions) -> None:
    folder = versions.prepare("lung_xray")
    (versions.workspace / "lung_xray" / "current.json").unlink()
    assert versions.prepare("lung_xray") == folder
    assert versions.current("lung_xray") == 1


@pytest.mark.parametrize("content", ["", "{", '{"version": 9}', '{"version": "x"}', "[]"])
def test_a_damaged_record_of_what_serves_is_told_with_the_remedy(versions: Versions, content: str) -> None:
    versions.prepare("lung_xray")
    (versions.workspace / "lung_xray" / "current.json").write_text(content)
    with pytest.raises(ConfigError, match=r"one of \[?1"):
        versions.current("lung_xray")


def test_two_that_add_at_once_get_a_number_each(versions: Versions, others: Path) -> None:
    versions.prepare("lung_xray")
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda: numbers.append(versions.add("lung_xray", others, note={}))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [2, 3]
    assert versions.current("lung_xray") == 3


def test_a_bundle_without_weights_has_a_version_that_waits_for_a_training(versions: Versions, tmp_path: Path) -> None:
    first_version_untrained(versions.workspace, "spine", tmp_path / "untrained")
    assert versions.serving("spine").weights is None
    network = SpineFusionNet(spatial_dims=3, in_channels=1, out_channels=3, features=[16, 32, 64, 128, 256])
    torch.save(network.state_dict(), tmp_path / "first.pt")
    assert versions.add("spine", tmp_path / "first.pt", note={}) == 2
    assert versions.serving("spine").weights is not None


def test_given_weights_make_the_first_version(tmp_path: Path, others: Path) -> None:
    versions = Versions(tmp_path / "workspace", {"lung_xray": others})
    versions.prepare("lung_xray")
    assert versions.serving("lung_xray").weights_sha256 == sha256_of(others)
    assert versions.serving("lung_xray").note == {"origin": "given"}
    with pytest.raises(WeightsError, match="no such weights file for lung_xray"):
        Versions(tmp_path / "other", {"lung_xray": tmp_path / "none.pt"}).prepare("lung_xray")


@pytest.mark.parametrize("name", ["../outside", "a/b", "", "."])
def test_a_name_that_is_a_path_is_refused(versions: Versions, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be a model's name"):
        versions.prepare(name)


def test_a_model_that_was_never_started_here_is_told(versions: Versions) -> None:
    with pytest.raises(ConfigError, match="start the server with it first"):
        versions.current("lung_xray")
    assert versions.list("lung_xray") == []
