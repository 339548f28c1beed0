"""Actors on this machine read from and write to real stores as one process does."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra [ray] is not installed")

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_data" / "lung_ct"


@pytest.mark.long
def test_a_container_is_segmented_into_a_container_by_a_local_ray(
    box: Any, small: dict[str, Any], small_weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in sorted((SAMPLES / "dicom" / "lung04").iterdir()):
        box.put(f"images/lung04/{file.name}", file)
    box.put("images/slice.png", SAMPLES / "slices" / "lung01_14.png")
    box.put("images/torn.nii.gz", b"not an image")
    order = {
        **{"bundle": "lung_ct", "inputs": f"{box.url}/images", "output_dir": f"{box.url}/out", "address": "local"},
        **{"weights": box.put("weights/lung_ct.pt", small_weights["lung_ct"]), "progress": False, **small["lung_ct"]},
    }
    script = ROOT / "tests" / "pipelines" / "scale" / "batch_on_ray.py"
    with tempfile.TemporaryDirectory(prefix="rs", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        ended = subprocess.run([sys.executable, script, json.dumps(order)], capture_output=True, text=True, check=True)
    batch = json.loads(ended.stdout.splitlines()[-1])
    assert len(batch["done"]) == 2
    assert list(batch["failed"]) == ["torn"]
    assert batch["failed"]["torn"].startswith(f"{box.url}/images/torn.nii.gz: ")
    lines = [json.loads(line) for line in box.read("out/manifest.jsonl").splitlines()]
    assert sorted(line["status"] for line in lines) == ["done", "done", "failed"]
    expected = {"out/manifest.jsonl"}
    for name in batch["done"]:
        mask = "mask.png" if name == "slice" else "mask.nii.gz"
        expected |= {f"out/{name}/{file}" for file in (mask, "preview.png", "statistics.json")}
    assert expected <= {name for name in box.names() if name.startswith("out/")}
