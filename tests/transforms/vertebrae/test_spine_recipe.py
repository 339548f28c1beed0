"""The spine bundle's training with simulated fractures: numbered maps in, the bundle's labels out."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose
from numbered_spine import cylinders

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.errors import InputError
from radseg.transforms.vertebrae import RandSurroundVertebraed


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """One patient for training and one for validation, vertebrae numbered L1 to L5."""
    spine = cylinders(3)
    numbers = np.where(spine.labels > 0, 223 - spine.labels.astype(np.int16), 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(spine.image.astype(np.int16), spine.affine), tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(numbers, spine.affine), tmp_path / "vertebrae.nii.gz")
    item = {"image": "ct.nii.gz", "label": "vertebrae.nii.gz"}
    content = {"training": [{**item, "patient": "a"}], "validation": [{**item, "patient": "b"}]}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    return tmp_path


def parsed(dataset: Path, **overrides: Any) -> Any:
    settings = {"dataset_dir": str(dataset), "progress": False, "spacing_mm": [3.0, 3.0, 3.0], "roi_size": [32, 32, 32]}
    parser = load_workflow("spine", "train", overrides={**settings, **overrides}).parser
    parser.parse()
    return parser


def test_every_training_item_and_every_validation_item_gets_its_fractures(dataset: Path) -> None:
    parser = parsed(dataset, fracture_prob=1.0, osteoporosis_prob=1.0)
    training, validation = (parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate"))
    first, again = validation[0], validation[0]
    assert set(np.unique(first["label"])) == {0, 1, 2}
    assert np.array_equal(first["image"], again["image"])
    for epoch in range(2):
        training.set_epoch(epoch)
        windows = training[0]
        assert all(window["image"].shape == (1, 32, 32, 32) for window in windows)
        assert set(np.unique(np.stack([window["label"] for window in windows]))) <= {0, 1, 2}
        assert all(0 <= float(window["image"].mean()) <= 1 for window in windows)


def test_surroundings_are_simulated_whether_or_not_vertebrae_are_numbered(dataset: Path) -> None:
    def surroundings(**overrides: Any) -> list[Any]:
        chain = parsed(dataset, **overrides).get_parsed_content("train#dataset").augmentation
        return [one for one in chain.flatten().transforms if isinstance(one, RandSurroundVertebraed)]

    assert surroundings() == []
    assert surroundings(surroundings_prob=1.0, out_channels=1) == []  # whose maps hold the fractured vertebrae alone
    for fracture_prob in (0.0, 1.0):
        (found,) = surroundings(surroundings_prob=0.7, fracture_prob=fracture_prob)
        assert found.sampler.prob == 0.7
        assert found.sampler.given == {"spacing_mm": [3.0, 3.0, 3.0], "window_hu": [-200.0, 1200.0]}
    windows = parsed(dataset, surroundings_prob=1.0).get_parsed_content("train#dataset")[0]
    assert all(0 <= float(window["image"].mean()) <= 1 for window in windows)
    assert set(np.unique(np.stack([window["label"] for window in windows]))) <= {0, 1}


def test_fractures_alone_can_be_learnt_from_numbered_maps(dataset: Path) -> None:
    parser = parsed(dataset, fracture_prob=1.0, out_channels=1)
    assert set(np.unique(parser.get_parsed_content("validate#dataset")[0]["label"])) == {0, 1}


def test_without_simulation_numbered_maps_train_as_vertebrae(dataset: Path) -> None:
    parser = parsed(dataset)
    assert set(np.unique(parser.get_parsed_content("validate#dataset")[0]["label"])) == {0, 1}
    chain = parser.get_parsed_content("train#dataset").augmentation
    assert isinstance(chain, Compose)
    assert not any("Vertebra" in type(step).__name__ or "Osteo" in type(step).__name__ for step in chain.transforms)


def test_a_label_beyond_the_numbers_is_refused_with_its_file(dataset: Path) -> None:
    labels = nib.load(dataset / "vertebrae.nii.gz")
    wrong = np.asarray(labels.dataobj).copy()
    wrong[:3] = 250
    nib.save(nib.Nifti1Image(wrong, labels.affine), dataset / "vertebrae.nii.gz")
    parser = parsed(dataset, fracture_prob=1.0)
    with pytest.raises((InputError, RuntimeError), match=r"vertebrae\.nii\.gz: holds label 250|Failed to instantiate"):
        parser.get_parsed_content("train#dataset")
