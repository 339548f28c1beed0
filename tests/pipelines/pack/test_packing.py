"""What `pack` writes: the form that MONAI's ecosystem takes, the same bytes each time, whole or not at all."""

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import untrained

import radseg.bundles
from radseg.networks import LungUNet
from radseg.pipelines.errors import ConfigError, InputError, WeightsError
from radseg.pipelines.pack import pack, unpack

FORM = {
    "LICENSE",
    "requirements.txt",
    "configs/evaluate.json",
    "configs/experiments.json",
    "configs/inference.json",
    "configs/logging.conf",
    "configs/metadata.json",
    "configs/multi_gpu_train.json",
    "configs/recipe.json",
    "configs/train.json",
    "docs/README.md",
    "models/model.pt",
}


def _about(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "configs" / "metadata.json").read_text())
    return content


def test_a_pack_has_the_form_that_monais_tools_take(packed: Path, bytes_below: Callable[..., dict[str, bytes]]) -> None:
    assert packed.name == "lung_xray"
    assert set(bytes_below(packed)) == FORM


def test_requirements_hold_the_projects_version_and_what_the_metadata_names(packed: Path) -> None:
    about = _about(packed)
    lines = (packed / "requirements.txt").read_text().splitlines()
    assert f"radseg=={version('radseg')}" in lines
    assert f"torch=={about['pytorch_version']}" in lines
    assert f"monai=={about['monai_version']}" in lines
    assert {line.partition("==")[0] for line in lines} >= set(about["required_packages_version"])


def test_the_shipped_float16_weights_are_packed_as_they_are_and_fill_the_network_strictly(packed: Path) -> None:
    file = packed / "models" / "model.pt"
    shipped = Path(radseg.bundles.root("lung_xray"), "models", "model.pt")
    assert file.read_bytes() == shipped.read_bytes()
    assert _about(packed)["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    state = torch.load(file, weights_only=True)
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
    network = LungUNet(1, 1)
    network.load_state_dict(state, strict=True)
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_packing_again_gives_the_same_bytes(
    packed: Path, bytes_below: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    assert bytes_below(pack("lung_xray", tmp_path)) == bytes_below(packed)


def test_zipping_again_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (pack("lung_xray", tmp_path / name, as_zip=True) for name in ("a", "b"))
    assert first.name == "lung_xray.zip"
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_pack_packed_again_is_the_same_pack(
    packed: Path, bytes_below: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    again = pack(packed, tmp_path, trust_config=True)
    assert bytes_below(again) == bytes_below(packed)


def test_a_pack_with_weights_of_your_own_packed_again_still_says_so(
    other_weights: Path, bytes_below: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    first = pack("lung_xray", tmp_path / "a", weights=other_weights)
    assert bytes_below(pack(first, tmp_path / "b", trust_config=True)) == bytes_below(first)


def test_a_pack_of_elsewhere_is_packed_only_if_trusted(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--trust-config"):
        pack(packed, tmp_path)


def test_weights_of_your_own_take_the_shipped_ones_place_and_none_of_their_praise(
    other_weights: Path, tmp_path: Path
) -> None:
    folder = pack("lung_xray", tmp_path, weights=other_weights)
    assert (folder / "models" / "model.pt").read_bytes() == other_weights.read_bytes()
    about = _about(folder)
    assert about["weights_sha256"] == hashlib.sha256(other_weights.read_bytes()).hexdigest()
    assert about["eval_metrics"] == {}
    assert "74" not in about["data_source"]
    assert "These weights were given when the bundle was packed" in (folder / "docs" / "README.md").read_text()


def test_the_shipped_weights_keep_their_scores(packed: Path) -> None:
    before = json.loads(Path(radseg.bundles.root("lung_xray"), "metadata.json").read_text())
    assert _about(packed)["eval_metrics"] == before["eval_metrics"]
    assert "given when the bundle was packed" not in (packed / "docs" / "README.md").read_text()


def test_a_bundle_without_weights_is_packed_only_if_that_is_meant(tmp_path: Path) -> None:
    bundle, out = untrained("lung_ct", tmp_path), tmp_path / "out"
    with pytest.raises(WeightsError, match="--allow-no-weights"):
        pack(bundle, out, trust_config=True)
    assert not out.exists() or list(out.iterdir()) == []
    folder = pack(bundle, out, allow_no_weights=True, trust_config=True)
    assert _about(folder)["weights_sha256"] is None
    assert not (folder / "models").exists()


def test_a_network_without_weights_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no trained weights"):
        pack(untrained("lung_ct", tmp_path), tmp_path / "out", onnx=True, allow_no_weights=True, trust_config=True)


def test_weights_of_another_network_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    torch.save(LungUNet(1, 1, features=4).state_dict(), tmp_path / "narrow.pt")
    with pytest.raises(WeightsError, match="this network wants"):
        pack("lung_xray", tmp_path / "out", weights=tmp_path / "narrow.pt")
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_not_packed(small_bundle: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(small_bundle, tmp_path / "mine")
    content = bytearray((mine / "models" / "model.pt").read_bytes())
    content[-400] ^= 1
    (mine / "models" / "model.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="sha256"):
        pack(mine, tmp_path / "out", trust_config=True)


def test_what_is_there_is_replaced_only_if_asked_and_only_if_it_is_a_pack(
    small_bundle: Path, bytes_below: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    folder = pack(small_bundle, tmp_path, trust_config=True)
    (folder / "LICENSE").write_text("changed")
    with pytest.raises(ConfigError, match="--overwrite"):
        pack(small_bundle, tmp_path, trust_config=True)
    assert (folder / "LICENSE").read_text() == "changed"
    pack(small_bundle, tmp_path, trust_config=True, overwrite=True)
    assert (folder / "LICENSE").read_bytes() == (small_bundle / "LICENSE").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["small_xray"]

    (folder / "configs" / "metadata.json").unlink()
    before = bytes_below(folder)
    with pytest.raises(ConfigError, match="isn't a packed bundle"):
        pack(small_bundle, tmp_path, trust_config=True, overwrite=True)
    assert bytes_below(folder) == before


def test_a_pack_that_fails_leaves_the_old_one(
    small_bundle: Path, bytes_below: Callable[..., dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pack(small_bundle, tmp_path, trust_config=True)
    before = bytes_below(folder)

    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("radseg.pipelines.pack.packing.export", no_space)
    with pytest.raises(InputError, match="No space left"):
        pack(small_bundle, tmp_path, trust_config=True, overwrite=True)
    assert bytes_below(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["small_xray"]


def test_of_two_packs_at_once_the_second_replaces_nothing(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(folder: Path, _: Any) -> list[str]:
        shutil.copytree(small_bundle, tmp_path / "small_xray")
        return []

    monkeypatch.setattr("radseg.pipelines.pack.packing.export", another)
    with pytest.raises(ConfigError, match="already there"):
        pack(small_bundle, tmp_path, trust_config=True)
    assert (tmp_path / "small_xray" / "train.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["small_xray"]


def test_a_bundle_is_never_packed_into_or_over_itself(small_bundle: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(small_bundle, tmp_path / "mine")
    for output in (tmp_path, mine, mine / "models"):
        with pytest.raises(ConfigError, match="lies in the bundle itself"):
            pack(mine, output, overwrite=True, trust_config=True)


def test_a_bundle_that_lacks_its_papers_is_told_which(small_bundle: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(small_bundle, tmp_path / "mine")
    (mine / "LICENSE").unlink()
    with pytest.raises(ConfigError, match="LICENSE: is missing"):
        pack(mine, tmp_path / "out", trust_config=True)


def test_a_place_that_cant_be_written_is_one_line(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        pack(small_bundle, tmp_path / "file", trust_config=True)
    with pytest.raises(ConfigError, match="folder of this machine"):
        pack(small_bundle, "s3://bucket/packs", trust_config=True)


@pytest.mark.parametrize("bundle", radseg.bundles.names())
def test_a_pack_says_nothing_of_where_it_was_made_and_links_nowhere_outside(bundle: str, tmp_path: Path) -> None:
    folder = pack(bundle, tmp_path, allow_no_weights=True)
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".pt":
            assert str(Path(radseg.bundles.__file__).parent) not in file.read_text()
            assert str(tmp_path) not in file.read_text()
    links = re.findall(r"\]\(([^)]+)\)", (folder / "docs" / "README.md").read_text())
    assert [link for link in links if not link.startswith(("http", "#"))] == []


def test_a_zip_comes_back_as_the_folder(packed: Path, bytes_below: Callable[..., Any], tmp_path: Path) -> None:
    file = pack("lung_xray", tmp_path, as_zip=True)
    assert bytes_below(unpack(file, tmp_path / "out")) == bytes_below(packed)
