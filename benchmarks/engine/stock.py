"""A CT to its mask the model zoo's way: MONAI's transforms and inferers, eager torch in float32, nothing of radseg's.

Two exceptions keep the comparison one of engines. `Spacingd` is asked for radseg's grid (the field of view divided
into whole voxels, `scale_extent=True`), since half a voxel's shift would show in every mask; it costs the same. And
MONAI has no CLAHE, so lung_ct's comes from radseg.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import torch
from measure import Stages, run_worker
from monai.data import MetaTensor
from monai.inferers import SliceInferer, SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    Resized,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)
from network import network_of

from radseg.transforms import CLAHEd

LUNG_WINDOW_HU = (-1350.0, 150.0)
SPINE_WINDOW_HU = (-200.0, 1200.0)
SPACING_MM = 1.5


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Segments `image` with `bundle`'s network and `weights` into the folder `output`, `batch` windows at a time."""
    torch.set_num_threads(order["threads"])
    stages = Stages()
    network = network_of(order["bundle"], order["weights"])
    stages.end("network made")
    image, output = Path(order["image"]), Path(order["output"])
    if order["bundle"] == "spine":
        preprocessing, discrete = spine_preprocessing(image), {"argmax": True}
        inferer = SlidingWindowInferer(tuple(order["roi_size"]), order["batch"], overlap=0.5, mode="gaussian")
    else:
        preprocessing, discrete = lung_preprocessing(order["image_size"]), {"threshold": 0.5}
        inferer = SliceInferer(2, roi_size=[order["image_size"]] * 2, sw_batch_size=order["batch"])
    postprocessing = Compose(
        [
            Activationsd("pred", softmax="argmax" in discrete, sigmoid="threshold" in discrete),
            Invertd("pred", transform=preprocessing, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", **discrete),
        ]
    )
    save = SaveImaged(
        "pred", output_dir=output, output_postfix="mask", separate_folder=False, output_dtype="uint8", print_log=False
    )
    with torch.inference_mode():
        data = preprocessing({"image": str(image)})
        stages.end("read and preprocess")
        logits = inferer(data["image"][None], network)[0]
        data["pred"] = MetaTensor(logits.as_tensor(), meta=data["image"].meta)
        stages.end("network")
        data = postprocessing(data)
        stages.end("restore")
        save(data)
        stages.end("write")
    mask = next(output.glob("*_mask.nii.gz"))
    return {"job_seconds": stages.total, "stages": stages.seconds, "mask": str(mask)}


def spine_preprocessing(image: Path) -> Compose:
    """RAS, 1.5 mm, window in HU to 0…1."""
    header = nib.load(image)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(header.dataobj, header.affine))
    lengths_mm = [n * float(s) for n, s in zip(canonical.shape, canonical.header.get_zooms(), strict=True)]
    spacing_mm = [length / max(1, round(length / SPACING_MM)) for length in lengths_mm]
    lower, upper = SPINE_WINDOW_HU
    return Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=spacing_mm, mode="bilinear", scale_extent=True, align_corners=True),
            ScaleIntensityRanged("image", lower, upper, 0.0, 1.0, clip=True),
        ]
    )


def lung_preprocessing(size: int) -> Compose:
    """Rows from anterior to posterior, window in HU to 8 bit, CLAHE of each slice, `size` × `size`, 0…1."""
    lower, upper = LUNG_WINDOW_HU
    return Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="PLS", labels=None),
            ScaleIntensityRanged("image", lower, upper, 0.0, 255.0, clip=True),
            CLAHEd("image", clip_limit=2.0, tiles=(8, 8), slice_axis=-1),
            Resized("image", spatial_size=(size, size, -1), mode="trilinear"),
            ScaleIntensityRanged("image", 0.0, 255.0, 0.0, 1.0),
        ]
    )


if __name__ == "__main__":
    run_worker(work)
