"""The model zoo's side: the same network, loss, optimiser, augmentation, batch and window, run as its configs do.

That is: MONAI's own transforms, `CacheDataset`, a `DataLoader` with worker processes, `SupervisedTrainer` with
`amp=True`, which reaches CUDA only, and a contiguous float32 network. Preparation is MONAI's where it has the
transform; CLAHE, which it lacks, is radseg's.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    Lambdad,
    LoadImaged,
    Orientationd,
    Resized,
    ScaleIntensityRanged,
    Spacingd,
    Transposed,
)
from monai.utils import set_determinism

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from device_clock import seconds_on
from measure import run_worker
from steps import StepWatch, samples_of

from radseg.pipelines.bundle_loader import load_workflow
from radseg.transforms import CLAHEd

KEYS = ("image", "label")
SPINE_WINDOW_HU = (-200.0, 1200.0)


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Trains for some steps and says how long they took.

    Args:
        order: bundle, dataset, device, output, warm_up, steps, threads, overrides of train.json, workers of the loader.
    """
    torch.set_num_threads(order["threads"])
    start = time.perf_counter()
    settings = {"dataset_dir": order["dataset"], "device": order["device"], "amp": False, **order["overrides"]}
    parser = load_workflow(order["bundle"], "train", settings).parser
    set_determinism(seed=0)
    network = parser.get_parsed_content("network")
    loader = _loader(order, parser)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no CUDA for `amp`
        trainer = SupervisedTrainer(
            device=torch.device(order["device"]),
            max_epochs=order["warm_up"] + order["steps"],
            train_data_loader=loader,
            network=network,
            optimizer=parser.get_parsed_content("optimizer"),
            loss_function=parser.get_parsed_content("loss"),
            inferer=SimpleInferer(),
            amp=True,
        )
        watch = StepWatch(order["warm_up"], order["steps"], order["device"])
        watch.attach(trainer)
        ready_seconds = seconds_on(order["device"]) - start
        trainer.run()
    return {**watch.figures(samples_of(parser)), "ready_seconds": round(ready_seconds, 2)}


def _loader(order: dict[str, Any], parser: Any) -> DataLoader:
    dataset = Path(order["dataset"])
    listed = json.loads((dataset / "datalist.json").read_text())["training"]
    items = [{key: str(dataset / item[key]) for key in KEYS} for item in listed]
    prepared = spine_preprocessing(parser) if order["bundle"] == "spine" else lung_preprocessing(parser)
    augmented = Compose([*prepared.transforms, *parser.get_parsed_content("augmentation").transforms])
    batch_size = int(parser.get("batch_size", 1))
    # an epoch long enough for all steps: the zoo's datasets are larger than this one
    times = -(-(order["warm_up"] + order["steps"] + 1) * batch_size // len(items))
    data = CacheDataset(items * times, augmented, cache_rate=1.0, num_workers=4, progress=False, hash_as_key=True)
    return DataLoader(data, batch_size=batch_size, shuffle=True, num_workers=order["workers"])


def spine_preprocessing(parser: Any) -> Compose:
    """RAS, the bundle's spacing, window in HU to 0…1."""
    return Compose(
        [
            LoadImaged(KEYS),
            EnsureChannelFirstd(KEYS),
            Orientationd(KEYS, axcodes="RAS", labels=None),
            Spacingd(KEYS, pixdim=parser.get("spacing_mm"), mode=("bilinear", "nearest")),
            ScaleIntensityRanged("image", *SPINE_WINDOW_HU, 0.0, 1.0, clip=True),
            EnsureTyped(KEYS),
        ]
    )


def lung_preprocessing(parser: Any) -> Compose:
    """Slices with rows from anterior to posterior, CLAHE, the bundle's size, 0…1; any lesion is label 1."""
    size = parser.get("image_size")
    return Compose(
        [
            LoadImaged(KEYS),
            EnsureChannelFirstd(KEYS),
            Transposed(KEYS, (0, 2, 1)),  # MONAI reads columns first
            CLAHEd("image", clip_limit=2.0, tiles=(8, 8)),
            Resized(KEYS, spatial_size=(size, size), mode=("bilinear", "nearest-exact")),
            ScaleIntensityRanged("image", 0.0, 255.0, 0.0, 1.0),
            Lambdad("label", lambda label: (label > 0).to(torch.float32)),
            EnsureTyped(KEYS),
        ]
    )


if __name__ == "__main__":
    run_worker(work)
