"""A bundle with a small network, its pack, and zips of any content."""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import radseg.bundles
from radseg.networks import LungUNet
from radseg.pipelines.pack import pack
from radseg.pipelines.weights import save_weights


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of lung_xray with its shipped weights; tests leave it as it is."""
    return pack("lung_xray", tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that fit lung_xray's network but aren't the shipped ones; all masks that they give are full."""
    network = LungUNet(1, 1)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.fill_(5.0)
    file = tmp_path_factory.mktemp("weights") / "mine.pt"
    save_weights(network, file)
    return file


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lung_xray with four features and images of 64 × 64, random weights that it ships."""
    folder = tmp_path_factory.mktemp("bundles") / "small_xray"
    shutil.copytree(radseg.bundles.root("lung_xray"), folder, ignore=shutil.ignore_patterns("models"))
    for name in ("train", "evaluate", "inference"):
        content = json.loads((folder / f"{name}.json").read_text())
        content["network_def"]["features"] = 4
        content["image_size"] = 64
        content["bundle_root"] = str(folder)
        (folder / f"{name}.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    digest = save_weights(LungUNet(1, 1, features=4), folder / "models" / "model.pt")
    (folder / "models" / "model.pt.sha256").unlink()
    about = json.loads((folder / "metadata.json").read_text()) | {"weights_sha256": digest}
    for tensor in (about["network_data_format"]["inputs"]["image"], about["network_data_format"]["outputs"]["pred"]):
        tensor["spatial_shape"] = [64, 64]
    (folder / "metadata.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="session")
def bytes_below() -> Callable[[Path], dict[str, bytes]]:
    """The bytes of every file of a folder, by relative path."""
    return lambda folder: {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a zip of the least bundle there is and of further entries: name or `ZipInfo` → content."""

    def make(further: Mapping[Any, bytes] | None = None, bundle: bool = True) -> Path:
        file = tmp_path / "given.zip"
        with zipfile.ZipFile(file, "w") as archive:
            if bundle:
                archive.writestr("small/configs/metadata.json", "{}")
            for entry, content in (further or {}).items():
                archive.writestr(entry, content)
        return file

    return make
