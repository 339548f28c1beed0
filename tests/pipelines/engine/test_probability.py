"""Probabilities kept beside a mask: what the network said of each label, on the source's grid, a byte a voxel."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose

import radseg.bundles
from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.cases import Case, discover
from radseg.pipelines.engine.restore import Restore
from radseg.pipelines.fingerprint import fingerprint

SAMPLES = Path(__file__).parents[3] / "sample_data"


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


restoring = _beside("test_restore")
memory = _beside("test_memory")


def as_bytes(theirs: Any) -> torch.Tensor:
    return (theirs.as_tensor() * 255).round().to(torch.uint8)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_it_is_what_monai_brings_back_and_the_labels_stay_what_they_were(classes: int, axis: int) -> None:
    image = restoring.prepared(restoring.PLAIN, (15, 14, 9), restoring.affine_of(restoring.TURNS[17], (1.0, 1.2, 2.0)))
    logits = restoring.blobs(classes, tuple(image.shape[1:]), background=2.0)
    activation = restoring.activation_of(classes)
    kept = Restore(activation, probability=True)(restoring.sliced(logits, axis, [3, 7]), image)
    theirs = restoring.stock(logits, image, Compose([restoring.PLAIN]), discrete=False)
    assert kept.probability is not None
    labels = as_bytes(theirs)[-kept.probability.shape[0] :]
    assert kept.probability.shape == (max(1, classes - 1), *theirs.shape[1:])
    assert kept.probability.dtype == torch.uint8
    assert (kept.probability.int() - labels.int()).abs().max() <= 1
    plain = Restore(activation)(restoring.sliced(logits, axis, [3, 7]), image)
    assert torch.equal(kept.pred.as_tensor(), plain.pred.as_tensor())
    assert plain.probability is None


@pytest.mark.parametrize("classes", [1, 3])
def test_a_way_back_that_only_the_transform_knows_gives_it_too(classes: int) -> None:
    image = restoring.prepared(restoring.GENERAL, (14, 15, 16))
    logits = restoring.blobs(classes, tuple(image.shape[1:]))
    restore = Restore(restoring.activation_of(classes), transform=restoring.GENERAL, probability=True)
    kept = restore(restoring.sliced(logits, 1, [4, 9]), image).probability
    theirs = as_bytes(restoring.stock(logits, image, restoring.GENERAL, discrete=False))
    assert kept is not None
    assert (kept.int() - theirs[-len(kept) :].int()).abs().max() <= 1


def test_of_several_members_it_is_the_mean() -> None:
    image = restoring.prepared(restoring.PLAIN, (12, 14, 9))
    logits = torch.cat([restoring.blobs(3, tuple(image.shape[1:]), seed) for seed in range(2)])
    kept = Restore("softmax", probability=True)(restoring.sliced(logits, 2, [4]), image, members=2)
    mean = torch.stack([member.softmax(0) for member in logits.chunk(2)]).mean(0)
    theirs = as_bytes(restoring.stock(mean.log(), image, Compose([restoring.PLAIN]), discrete=False))
    assert kept.probability is not None
    assert kept.uncertainty is not None
    assert (kept.probability.int() - theirs[1:].int()).abs().max() <= 1


def test_what_no_window_covered_has_none() -> None:
    image = restoring.prepared(restoring.PLAIN, (16, 18, 14))
    logits = restoring.blobs(3, tuple(image.shape[1:])) + 1
    kept = Restore("softmax", probability=True)(
        restoring.sliced(logits, 0, [2], torch.zeros(image.shape[1:], dtype=torch.bool)), image
    )
    assert kept.probability is not None
    assert not kept.probability.any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_slabs_on_a_gpu_give_the_same() -> None:
    image = restoring.prepared(restoring.PLAIN, (40, 36, 20))
    logits = restoring.blobs(3, tuple(image.shape[1:]), background=2.0)
    cpu, cuda = (
        Restore("softmax", probability=True)(restoring.sliced(logits.to(device), 1, [7]), image).probability
        for device in ("cpu", "cuda")
    )
    assert cpu is not None
    assert cuda is not None
    assert (cpu.int() - cuda.int()).abs().max() <= 1


def test_wanting_it_is_no_other_recipe() -> None:
    assert fingerprint(Restore("softmax")) == fingerprint(Restore("softmax", probability=True))


def test_it_takes_a_byte_a_voxel_and_label_and_no_more(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros(memory.SHAPE, np.int16), np.diag([0.8, 0.8, 1.0, 1.0]))
    image.dataobj[:] = -1000
    image.dataobj[100:400, 100:400, 50:250] = 1000
    nib.save(image, tmp_path / "ct.nii")
    program = memory.PROGRAM.replace('Restore("softmax")', 'Restore("softmax", probability=True)')
    assert program != memory.PROGRAM
    command = [sys.executable, "-c", program, str(tmp_path / "ct.nii")]
    *_, voxels, grown_mb = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    mask_mb = np.prod(memory.SHAPE) / 2**20
    assert int(voxels) > 0
    assert float(grown_mb) < 2 * mask_mb + mask_mb * 4 / 3  # mask, one label's probability, and what is on its way


@pytest.mark.parametrize("bundle", radseg.bundles.names())
def test_every_bundle_can_give_it(
    bundle: str, small: dict[str, dict[str, Any]], small_weights: dict[str, Path]
) -> None:
    overrides = {"weights": str(small_weights[bundle]), "device": "cpu", **small[bundle]}
    if bundle in ("spine", "lung_ct"):  # the two of radiographs always give it
        overrides["probability"] = True
    workflow = load_workflow(bundle, "inference", overrides)
    workflow.initialize()
    modality = workflow.parser.get_parsed_content("modality")
    [case, *_] = [one for one in discover(SAMPLES / bundle / "dicom", modality=modality) if isinstance(one, Case)]
    predictor = workflow.parser.get_parsed_content("predictor")
    prediction = predictor(predictor.loader.load_image(case))
    labels = workflow.parser.get_parsed_content("labels")
    assert prediction.probability is not None
    assert prediction.probability.dtype == np.uint8
    assert prediction.probability.shape == (len(labels), *prediction.mask.shape)
    labelled = prediction.mask > 0
    assert labelled.any()
    of_its_label = np.take_along_axis(prediction.probability, prediction.mask[None].clip(1) - 1, 0)[0][labelled]
    if bundle == "spine":
        assert (of_its_label == prediction.probability.max(0)[labelled]).mean() > 0.99
    elif bundle != "lung_xray":  # whose mask is closed and filled, and takes what stands out of its surroundings
        assert of_its_label.min() >= 127
