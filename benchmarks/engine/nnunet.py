"""A CT to its mask by nnU-Net v2's own predictor, with the spine bundle's network in the place of its own.

It runs in an environment of its own (see README.md). nnU-Net reads, windows (its CT normalisation with the bundle's
window as percentiles), resamples (cubic, after windowing), slides, resamples the logits back and writes: all as it
always does, in one process. Its windows lie elsewhere than MONAI's and its images are resampled otherwise, so its mask
resembles the others' and doesn't equal them.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import Stages, run_worker

ROOT = Path(__file__).parents[2]
SPACING_MM = 1.5
LOWER_HU, UPPER_HU = -200.0, 1200.0
WINDOW = {"percentile_00_5": LOWER_HU, "percentile_99_5": UPPER_HU, "mean": LOWER_HU, "std": UPPER_HU - LOWER_HU}
RESAMPLING = "resample_data_or_seg_to_shape"
DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "vertebra": 1, "fractured vertebra": 2},
    "file_ending": ".nii.gz",
    "overwrite_image_reader_writer": "NibabelIOWithReorient",
}


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Segments `image` with the weights `weights`, windows of `roi_size`, into the folder `output`."""
    _find_networks()
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(folder, order["output"])  # named on import, not used
    import torch

    torch.set_num_threads(order["threads"])
    from network import network_of
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    stages = Stages()
    network = network_of("spine", order["weights"])
    plans = PlansManager(plans_of(order["roi_size"]))
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    configuration = plans.get_configuration("3d_fullres")
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], DATASET, "nnUNetTrainer", None
    )
    stages.end("network made")
    mask = Path(order["output"]) / "mask"
    mask.parent.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential([[order["image"]]], [str(mask)], save_probabilities=False, overwrite=True)
    stages.end("read, network, restore and write")
    version = importlib.metadata.version("nnunetv2")
    return {"job_seconds": stages.total, "stages": stages.seconds, "mask": f"{mask}.nii.gz", "version": version}


def plans_of(roi_size: list[int]) -> dict[str, Any]:
    """nnU-Net's plans: CT, 1.5 mm, windows of `roi_size`; images as (x, y, z) in RAS, which the network learned."""
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "benchmark",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 1,
        "patch_size": roi_size,
        "spacing": [SPACING_MM] * 3,
        "median_image_size_in_voxels": [240, 240, 222],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": RESAMPLING,
        "resampling_fn_data_kwargs": {**resampling, "order": 3},
        "resampling_fn_seg": RESAMPLING,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": RESAMPLING,
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": {"network_class_name": "given", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    return {
        "dataset_name": "Dataset001_benchmark",
        "plans_name": "benchmark",
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [2, 1, 0],
        "transpose_backward": [2, 1, 0],
        "experiment_planner_used": "none",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {**WINDOW, "median": 0.0, "min": -2048.0, "max": 3071.0}},
        "configurations": {"3d_fullres": configuration},
    }


def _find_networks() -> None:
    """Makes `radseg.networks` importable, and nothing else of radseg, which isn't installed here."""
    folder = Path(tempfile.mkdtemp())
    (folder / "radseg").mkdir()
    (folder / "radseg" / "networks").symlink_to(ROOT / "networks")
    sys.path.append(str(folder))


if __name__ == "__main__":
    run_worker(work)
