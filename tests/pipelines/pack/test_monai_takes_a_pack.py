"""A pack in MONAI's own hands, from a folder that knows nothing of it: verifiers, export, load, workflows."""

import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, create_workflow, load, verify_metadata, verify_net_in_out

import radseg.bundles
from radseg.pipelines.io import load_mask
from radseg.pipelines.pack import pack
from radseg.pipelines.segment import segment
from radseg.pipelines.validate import SCHEMA, validate

ROOT = Path(__file__).parents[3]
IMAGE = ROOT / "sample_data" / "lung_xray" / "imagesTr" / "chest01_pa.png"
# of MONAI's published schema, meta_schema_20240725.json
REQUIRED = {
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task",
    "description", "authors", "copyright", "network_data_format",
}  # fmt: skip
OF_A_TENSOR = {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; MONAI warns of any config, and sets up logging."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("monai.bundle.workflows._apply_logging_file", lambda *_, **__: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield folder


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("all")
    return {name: pack(name, folder, allow_no_weights=True) for name in radseg.bundles.names()}


@pytest.mark.parametrize("bundle", radseg.bundles.names())
def test_its_metadata_is_what_monai_asks_for(bundle: str, packs: dict[str, Path]) -> None:
    file = packs[bundle] / "configs" / "metadata.json"
    verify_metadata(meta_file=str(file), filepath=str(SCHEMA))  # a schema that is there isn't downloaded
    about = json.loads(file.read_text())
    assert set(about) >= REQUIRED
    described = about["network_data_format"]
    assert all(set(one) >= OF_A_TENSOR for one in (described["inputs"]["image"], described["outputs"]["pred"]))


@pytest.mark.parametrize("bundle", radseg.bundles.names())
def test_its_network_takes_and_gives_what_the_metadata_says(
    bundle: str, packs: dict[str, Path], tmp_path: Path
) -> None:
    inner = packs[bundle] / "configs"
    files = {"meta_file": str(inner / "metadata.json"), "config_file": str(inner / "inference.json")}
    verify_net_in_out("network_def", device="cpu", **files)
    about = json.loads((inner / "metadata.json").read_text())
    channels = about["network_data_format"]["outputs"]["pred"]["num_channels"]
    about["network_data_format"]["outputs"]["pred"]["num_channels"] = channels + 1
    other = tmp_path / "metadata.json"
    other.write_text(json.dumps(about))
    with pytest.raises(ValueError, match="output channel"):  # so the check looks
        verify_net_in_out("network_def", device="cpu", **{**files, "meta_file": str(other)})


@pytest.mark.parametrize("bundle", ["lung_ct", "lung_xray"])
def test_radsegs_own_check_finds_it_valid_with_weights_and_without(bundle: str, packs: dict[str, Path]) -> None:
    assert validate(packs[bundle], trust_config=True) == []


@pytest.mark.parametrize("kind", ["train", "inference"])
def test_monai_loads_its_network_and_touches_nothing(kind: str, packed: Path, elsewhere: Path) -> None:
    network = load(packed.name, bundle_dir=packed.parent, source="github", workflow_type=kind, device="cpu")
    state = torch.load(packed / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(value, state[name].to(value.dtype)) for name, value in network.state_dict().items())
    assert list(elsewhere.iterdir()) == []


def test_monai_exports_its_checkpoint(packed: Path, elsewhere: Path) -> None:
    config = packed / "configs" / "inference.json"
    ckpt_export(bundle_root=str(packed), config_file=str(config), filepath=str(elsewhere / "model.ts"), use_trace=True)
    network = load(packed.name, bundle_dir=packed.parent, source="github", workflow_type="inference", device="cpu")
    image = torch.rand(1, 1, 256, 256)
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(elsewhere / "model.ts")(image), network.eval()(image), atol=1e-4)


def _workflow(folder: Path, output: Path, kind: str = "inference") -> Any:
    return create_workflow(
        config_file=str(folder / "configs" / f"{kind}.json"), workflow_type="infer", dataset_dir=str(IMAGE),
        output_dir=str(output), progress=False,
    )  # fmt: skip


def test_a_workflow_of_monais_the_pack_and_the_name_give_the_same_voxels(packed: Path, tmp_path: Path) -> None:
    workflow = _workflow(packed, tmp_path / "monai")
    assert workflow.check_properties() == []
    workflow.run()
    segment(packed, IMAGE, tmp_path / "pack", trust_config=True, progress=False)
    segment("lung_xray", IMAGE, tmp_path / "name", progress=False)
    masks = [load_mask(tmp_path / way / "chest01_pa" / "mask.png").array for way in ("monai", "pack", "name")]
    assert masks[0].any()
    assert np.array_equal(masks[0], masks[2])
    assert np.array_equal(masks[1], masks[2])


def test_a_pack_runs_with_its_own_weights_whatever_others_ran_before(
    packed: Path, other_weights: Path, tmp_path: Path
) -> None:
    other = pack("lung_xray", tmp_path / "other", weights=other_weights)
    first, second = _workflow(packed, tmp_path / "a"), _workflow(other, tmp_path / "b")
    assert (first.bundle_root, second.bundle_root) == (str(packed), str(other))
    second.run()
    first.run()
    full, lungs = (load_mask(tmp_path / way / "chest01_pa" / "mask.png").array for way in ("b", "a"))
    assert full.mean() > 0.9
    assert 0 < lungs.mean() < 0.6


def test_a_pack_that_was_moved_finds_itself(small_bundle: Path, tmp_path: Path) -> None:
    folder = pack(small_bundle, tmp_path / "before", trust_config=True)
    moved = Path(shutil.move(folder, tmp_path / "after"))
    assert _workflow(moved, tmp_path / "out").bundle_root == str(moved)


def test_outside_of_a_workflow_the_root_is_the_current_folder_as_in_monais_bundles() -> None:
    assert radseg.bundles.packed_root() == "."


@pytest.mark.parametrize("bundle", radseg.bundles.names())
def test_a_training_is_made_ready_by_what_runs_it(bundle: str, packs: dict[str, Path]) -> None:
    inner = packs[bundle] / "configs"
    train, multi = (json.loads((inner / f"{name}.json").read_text()) for name in ("train", "multi_gpu_train"))
    before = json.loads(Path(radseg.bundles.root(bundle), "train.json").read_text())
    assert train["initialize"] + train["training"] == before["initialize"] + before["training"]
    assert train["initialize"] == before["initialize"][:1]
    assert [step for step in multi["initialize"] if step in train["training"]] == []
    assert multi["initialize"][0].startswith("$distributed.join")


@pytest.mark.long
def test_a_pack_trains(small_bundle: Path, tmp_path: Path, radseg: Callable[..., Any]) -> None:
    folder = pack(small_bundle, tmp_path, trust_config=True)
    data = ROOT / "sample_data" / "lung_xray"
    ended = radseg("train", folder, "-d", data, "-o", tmp_path / "run", "--max_epochs", "1", "--trust-config", "-q")
    assert ended.code == 0, ended.err
    assert (tmp_path / "run" / "model.pt").is_file()
    assert not (tmp_path / "run.1").exists()
