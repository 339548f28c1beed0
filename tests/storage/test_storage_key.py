"""The config key `storage` and the command line: which settings count, and that no secret is taken or recorded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import run as run_bundle

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.store.settings import current_storage
from radseg.pipelines.io.store.storage import upload
from radseg.pipelines.segment import segment

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "sample_data" / "lung_ct" / "slices" / "lung01_14.png"
SMALL: dict[str, Any] = {"network_def#features": [4, 8, 16, 32], "image_size": 64, "progress": False}


@pytest.fixture
def bundle(tmp_path: Path, clean_storage: None) -> Path:
    """A copy of lung_ct whose inference.json has the key."""
    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "bundles" / "lung_ct", folder)
    content = json.loads((folder / "inference.json").read_text())
    content["storage"] = {"credentials": None, "cache_dir": str(tmp_path / "configured"), "cache_limit_gb": 1}
    (folder / "inference.json").write_text(json.dumps(content))
    return folder


def test_the_config_says_where_the_cache_is_and_overrides_say_otherwise(bundle: Path, tmp_path: Path) -> None:
    load_workflow(bundle, "inference", trust_config=True)
    assert current_storage().cache_folder == tmp_path / "configured"
    load_workflow(bundle, "inference", {"storage#cache_dir": str(tmp_path / "given")}, trust_config=True)
    assert current_storage().cache_folder == tmp_path / "given"
    assert current_storage().cache_limit_gb == 1
    with pytest.raises(ConfigError, match="did you mean --storage#cache_dir"):
        load_workflow(bundle, "inference", {"storage#cachedir": "x"}, trust_config=True)


def test_a_credentials_file_that_others_may_read_is_refused_at_once(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "azure").write_text("AccountName=me;AccountKey=SECRET")
    (tmp_path / "azure").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_workflow(bundle, "inference", {"storage#credentials": str(tmp_path / "azure")}, trust_config=True)


def test_settings_of_storage_arent_recorded_with_results(
    bundle: Path, tmp_path: Path, small_weights: dict[str, Path]
) -> None:
    cache = str(tmp_path / "a_private_place")
    settings = {"weights": small_weights["lung_ct"], "storage#cache_dir": cache, **SMALL}
    batch = segment(bundle, IMAGE, tmp_path / "out", trust_config=True, **settings)
    assert batch.ok
    assert "a_private_place" not in (tmp_path / "out" / "manifest.jsonl").read_text()


def test_a_connection_string_on_the_command_line_is_refused_and_not_repeated(
    clean_storage: None, radseg: Callable[..., Any], tmp_path: Path
) -> None:
    secret = "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=SECRET"
    for arguments in (
        ["segment", "lung_ct", secret, "-o", tmp_path / "out"],
        ["train", "lung_ct", "--dataset_dir", secret],
        ["evaluate", "lung_ct", "--storage#credentials", secret],
        ["segment", "lung_ct", IMAGE, "-o", secret],
    ):
        ended = radseg(*arguments)
        assert ended.code == 2
        assert "SECRET" not in ended.out + ended.err
        assert "file of mode 600" in ended.err


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")  # MONAI's, that a config is code
def test_monais_own_runner_reads_and_writes_urls(
    clean_storage: None, small_weights: dict[str, Path], tmp_path: Path
) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    upload(IMAGE, "memory://monai/in/lung01_14.png")
    run_bundle(
        "inferring",
        config_file=str(ROOT / "bundles" / "lung_ct" / "inference.json"),
        logging_file=False,
        dataset_dir="memory://monai/in",
        output_dir="memory://monai/out",
        weights=str(small_weights["lung_ct"]),
        **SMALL,
    )
    assert {name for name in memory.store if name.startswith("/monai/out/")} == {
        "/monai/out/manifest.jsonl",
        "/monai/out/summary.csv",
        "/monai/out/index.html",
        *(f"/monai/out/lung01_14/{name}" for name in ("mask.png", "preview.png", "statistics.json")),
    }
    memory.store.clear()
