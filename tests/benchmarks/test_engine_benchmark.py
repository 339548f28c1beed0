"""The opponents of the engine's benchmark do the same job as radseg, or the comparison says so."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch

from radseg.networks import AttentionUNet
from radseg.transforms import ResampleToSpacingd, WindowHUd

ROOT = Path(__file__).parents[2]
# MONAI's LoadImaged makes readers of every kind and warns where one has no plugin
loads_with_monai = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a file of benchmarks/engine, whose scripts find one another as neighbours."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "engine"))

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    return imported


@loads_with_monai
def test_stock_monai_gives_the_spine_network_the_same_voxels_on_the_same_grid(part, tmp_path):
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

    sample = nib.load(ROOT / "sample_data" / "spine" / "imagesTr" / "spine06.nii.gz")
    image = tmp_path / "ct.nii.gz"
    nib.save(sample.slicer[:40, :, :29], image)
    ours = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            ResampleToSpacingd("image", [1.5, 1.5, 1.5]),
            WindowHUd("image", -200.0, 1200.0),
        ]
    )({"image": image})["image"]
    theirs = part("stock").spine_preprocessing(image)({"image": image})["image"]
    assert theirs.shape == ours.shape
    np.testing.assert_allclose(theirs.affine, ours.affine, atol=1e-6)
    assert (theirs.as_tensor() - ours.as_tensor()).abs().max() < 1e-3


@loads_with_monai
def test_stock_monai_and_radseg_find_the_same_lesions_with_the_same_weights(part, tmp_path):
    sample = nib.load(ROOT / "sample_data" / "lung_ct" / "imagesTr" / "lung01.nii.gz")
    image, weights = tmp_path / "ct.nii.gz", tmp_path / "model.pt"
    nib.save(sample.slicer[:, :, 4:6], image)
    torch.manual_seed(0)
    torch.save(AttentionUNet(in_channels=1, out_channels=1).state_dict(), weights)
    order = {"bundle": "lung_ct", "image": str(image), "weights": str(weights), "threads": torch.get_num_threads()}
    stock = part("stock").work({**order, "output": str(tmp_path / "stock"), "image_size": 64, "batch": 2})
    settings = {"runtime": "torch", "image_size": 64, "locate": False, "skip_air": False, "minimum_volume_mm3": 0.0}
    ours = part("ours").work({**order, "output": str(tmp_path / "ours"), "overrides": settings})
    found = part("agreement").agreement(ours["mask"], stock["mask"])
    # only a voxel whose probability is a half to the last digits may fall either way
    assert found["same_grid"]
    assert found["dice"]["1"] > 0.9995
    assert ours["engine"]["windows_run"] == ours["engine"]["windows"] == 2


def test_a_small_class_has_no_dice_and_another_grid_is_said(part, tmp_path):
    agreement = part("agreement").agreement
    reference = np.zeros((20, 20, 20), np.uint8)
    reference[:10, :10, :10], reference[19, 19, :5] = 1, 2
    mask = reference.copy()
    mask[0, 0, :4] = 0
    for name, voxels, affine in (("a", mask, np.eye(4)), ("b", reference, np.eye(4)), ("c", mask, 2 * np.eye(4))):
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / f"{name}.nii.gz")
    found = agreement(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    assert found == {"same_grid": True, "dice": {"1": round(2 * 996 / 1996, 6)}, "voxels_that_differ": 4}
    assert agreement(tmp_path / "c.nii.gz", tmp_path / "b.nii.gz") == {"same_grid": False}


def test_a_process_that_outgrows_its_limit_is_ended_and_said_not_to_fit(part, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("import signal\nheld = b'1' * 300_000_000\nsignal.pause()\n")
    answer = part("measure").run(str(worker), {}, threads=1, most_gb=0.1, python=sys.executable)
    assert "ended at 0.1 GB" in answer["did_not_fit"]


def test_a_process_that_fails_is_told_with_its_last_words(part, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("raise ValueError('no such network')\n")
    with pytest.raises(RuntimeError, match="no such network"):
        part("measure").run(str(worker), {}, threads=1, most_gb=1.0)


def test_the_time_and_memory_of_a_process_are_its_own(part, tmp_path):
    worker = tmp_path / "worker.py"
    folder = ROOT / "benchmarks" / "engine"
    worker.write_text(
        f"import sys; sys.path.append({str(folder)!r})\nfrom measure import run_worker\n"
        "held = bytearray(b'1' * 200_000_000)\nrun_worker(lambda order: {'told': order['asked']})\n"
    )
    answer = part("measure").run(str(worker), {"asked": 5}, threads=1, most_gb=2.0)
    assert answer["told"] == 5
    assert 200 < answer["peak_mb"] < 700
    assert answer["process_seconds"] > 0


def test_tall_cts_mirror_the_source_in_slices_of_one_millimetre(part, tmp_path):
    hu = np.arange(4, dtype=np.int16)[None, None].repeat(8, 0).repeat(8, 1) * 100
    nib.save(nib.Nifti1Image(hu, np.diag([1.0, 1.0, -1.0, 1.0])), tmp_path / "ct.nii.gz")
    tall = nib.load(part("tall").tall_ct(tmp_path / "ct.nii.gz", 10, tmp_path / "tall"))
    assert np.asarray(tall.dataobj)[0, 0].tolist() == [0, 100, 200, 300, 300, 200, 100, 0, 0, 100]
    assert tall.affine[2, 2] == -1.0


def test_the_table_replaces_only_what_lies_between_its_markers(part, tmp_path):
    table = part("table")
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{table.START}\nold\n{table.END}\nbelow\n")
    median = {"job_seconds": 80.0, "process_seconds": 90.0, "peak_mb": 3000}
    stock = {"median": median, "median_stage_seconds": {"network": 70.0}}
    result = {
        "what": "a CT",
        "date": "2026-01-01",
        "commit": "abc",
        "machine": {"cpu": "some", "memory_gb": 24.0},
        "floor": {"peak_gflop_per_second": {"exact": 1.0, "fast": 2.0}, "copy_gb_per_second": 3.0},
        "jobs": {"spine": {"stock": stock, "nnU-Net": {"did_not_fit": "ended at 22 GB after 9 s"}}},
        "growth": {"spine": {"image": "simulated", "slices": {"64": {"stock": {"job_seconds": 5.0, "peak_mb": 900}}}}},
    }
    table.write_table(json.loads(json.dumps(result)), readme)
    written = readme.read_text()
    assert written.startswith("above\n")
    assert written.endswith("\nbelow\n")
    assert "old" not in written
    assert "| stock | 80.0 |" in written
    assert "ended at 22 GB" in written
    assert "| 64 | 5 | 0.90 |" in written
