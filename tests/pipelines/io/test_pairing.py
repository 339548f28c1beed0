"""Masks meet their images: pictures by size, volumes voxel for voxel."""

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import LoadCased, load_pair


def pair(folder, image_size, mask_size):
    """A picture and a mask, sizes as (width, height), whose right half and lower half are labels."""
    (width, height), (mask_width, mask_height) = image_size, mask_size
    grey = (np.arange(width * height).reshape(height, width) % 251).astype(np.uint8)
    rows, columns = np.mgrid[:mask_height, :mask_width]
    mask = (columns >= mask_width / 2) + 2 * (rows >= mask_height / 2)
    Image.fromarray(grey).save(folder / "image.png")
    Image.fromarray(mask.astype(np.uint8)).save(folder / "mask.png")
    return folder / "image.png", folder / "mask.png"


def test_the_masks_of_the_covid_radiography_database_fit_their_images(tmp_path):
    image, mask = load_pair(*pair(tmp_path, (299, 299), (256, 256)), modality="DX")
    assert image.array.shape == mask.array.shape == (299, 299, 1)
    assert mask.notes == ("mask of 256×256 brought to the image's 299×299 pixels, nearest label",)
    half = mask.array[..., 0]
    assert set(np.unique(half)) == {0, 1, 2, 3}
    for quarter, label in ((half[:149, :149], 0), (half[150:, :149], 1), (half[:149, 150:], 2), (half[150:, 150:], 3)):
        assert (quarter == label).all()


def test_labels_are_taken_as_torch_takes_the_nearest(tmp_path):
    _, mask_path = pair(tmp_path, (299, 299), (256, 256))
    noise = np.random.default_rng(0).integers(0, 4, (256, 256)).astype(np.uint8)
    Image.fromarray(noise).save(mask_path)
    _, mask = load_pair(tmp_path / "image.png", mask_path)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(noise.T[None, None]).float(), (299, 299), mode="nearest-exact"
    )
    np.testing.assert_array_equal(mask.array[..., 0], theirs[0, 0])


def test_training_gets_the_mask_at_the_images_size(tmp_path):
    image, mask = pair(tmp_path, (60, 40), (30, 20))
    load = LoadCased(["label", "image"], label_keys="label", modality="DX")
    data = load({"image": image, "label": mask})
    assert data["image"].shape == data["label"].shape == (1, 60, 40, 1)
    assert "brought to the image's 60×40" in data["label"].meta["notes"]


@settings(deadline=None, max_examples=30)
@given(st.integers(40, 90), st.integers(40, 90), st.floats(0.3, 1.5))
def test_a_mask_that_is_the_image_scaled_and_rounded_fits(tmp_path_factory, width, height, scale):
    size = (round(width * scale), round(height * scale))
    image, mask = load_pair(*pair(tmp_path_factory.mktemp("pair"), (width, height), size))
    assert mask.array.shape == image.array.shape
    assert bool(mask.notes) == (size != (width, height))


@pytest.mark.parametrize("mask_size", [(40, 60), (60, 30), (256, 200)])
def test_a_mask_of_another_aspect_ratio_is_refused_with_both_sizes(tmp_path, mask_size):
    image, mask = pair(tmp_path, (60, 40), mask_size)
    with pytest.raises(InputError, match="image and mask differ in shape") as refused:
        load_pair(image, mask)
    for part in (str(image), str(mask), "(60, 40, 1)", str((*mask_size, 1))):
        assert part in str(refused.value)


@pytest.mark.parametrize("orientation", [["L", "F"], ["R", "F"]])
@pytest.mark.parametrize("mask_size", [(60, 40), (30, 20)])
def test_a_picture_of_a_mask_belongs_to_a_radiograph_in_its_stored_rows_and_columns(
    tmp_path, factory, orientation, mask_size
):
    picture, mask_path = pair(tmp_path, (60, 40), mask_size)
    grey = np.asarray(Image.open(picture))
    radiograph = factory.write_radiograph(
        tmp_path / "x.dcm", grey, bits=8, PixelSpacing=[0.2, 0.1], PatientOrientation=orientation
    )
    image, mask = load_pair(radiograph, mask_path, modality="DX")
    np.testing.assert_array_equal(mask.affine_ras, image.affine_ras)
    assert (mask.array.shape, mask.spacing_known) == (image.array.shape, True)
    assert (mask.array[35:, :15, 0] == 1).all()


def test_a_mask_in_nifti_is_not_brought_to_a_picture(tmp_path):
    image, _ = pair(tmp_path, (60, 40), (60, 40))
    nib.save(nib.Nifti1Image(np.ones((30, 20, 1), np.uint8), np.diag([-1.0, -1, 1, 1])), tmp_path / "mask.nii")
    with pytest.raises(InputError, match="image and mask differ in shape"):
        load_pair(image, tmp_path / "mask.nii")


def test_a_picture_of_a_mask_is_not_brought_to_a_volume(tmp_path):
    _, mask = pair(tmp_path, (60, 40), (60, 40))
    slice_hu = np.arange(2400, dtype=np.int16).reshape(60, 40, 1) - 1000
    nib.save(nib.Nifti1Image(slice_hu, np.diag([0.5, 0.5, 1, 1])), tmp_path / "ct.nii")
    with pytest.raises(InputError, match="image and mask have different affines"):
        load_pair(tmp_path / "ct.nii", mask)
