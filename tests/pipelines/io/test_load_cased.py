"""The transform that begins every preprocessing, with MONAI's transforms behind it."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose, Invertd, Orientationd, SaveImaged, Spacingd
from PIL import Image

from radseg.pipelines.cases import discover
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import LoadCased, load_pair, load_volume

AFFINE = np.array([[0.0, -0.8, 0, 12], [0.7, 0, 0, -30], [0, 0, 2.5, 4], [0, 0, 0, 1]])


@pytest.fixture
def pair(tmp_path):
    """An image and its mask."""
    image = (np.arange(12 * 10 * 8).reshape(12, 10, 8) - 1000).astype(np.int16)
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[2:6, 3:8, 1:4] = 2
    for name, array in (("ct.nii.gz", image), ("mask.nii.gz", mask)):
        nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / name)
    return tmp_path / "ct.nii.gz", tmp_path / "mask.nii.gz"


def test_a_path_becomes_a_tensor_with_channel_affine_and_metadata(pair):
    data = LoadCased(["image", "label"], label_keys=["label"])({"image": str(pair[0]), "label": pair[1], "fold": 3})
    image, label = data["image"], data["label"]
    assert isinstance(image, MetaTensor)
    assert (image.shape, image.dtype, label.shape) == ((1, 12, 10, 8), torch.float32, (1, 12, 10, 8))
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    assert (image.meta["units"], label.meta["units"], image.meta["notes"]) == ("HU", "label", "")
    assert image.meta["filename_or_obj"] == str(pair[0])
    assert set(label.unique().tolist()) == {0, 2}
    assert data["fold"] == 3


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii"])
def test_transforms_get_float32_whatever_was_stored_and_one_image_alone_as_it_is(pair, name):
    path = pair[0].with_name(name)
    nib.save(nib.Nifti1Image(np.asarray(nib.load(pair[0]).dataobj), AFFINE), path)
    load = LoadCased("image")
    stored, given = load.load_image(path), load({"image": path})["image"]
    assert (stored.array.dtype, stored.to_tensor().dtype, given.dtype) == (np.int16, torch.int16, torch.float32)
    np.testing.assert_array_equal(given.numpy()[0], stored.array)


def test_a_case_and_a_series_folder_load_the_same(tmp_path, factory):
    factory.write_series(tmp_path)
    (case,) = discover(tmp_path)
    by_case = LoadCased("image")({"image": case})["image"]
    by_path = LoadCased("image")({"image": tmp_path})["image"]
    assert torch.equal(by_case.as_tensor(), by_path.as_tensor())
    np.testing.assert_array_equal(by_case.numpy()[0], factory.phantom())


def test_data_without_a_mask_pass(pair):
    data = LoadCased(["image", "label"], label_keys="label")({"image": pair[0]})
    assert set(data) == {"image"}


def test_monais_transforms_go_there_and_back(pair, tmp_path):
    steps = Compose(
        [
            LoadCased(["image", "label"], label_keys="label"),
            Orientationd(["image", "label"], axcodes="RAS", labels=None),
            Spacingd(["image", "label"], pixdim=(1.0, 1.0, 1.0), mode=("bilinear", "nearest")),
        ]
    )
    data = steps({"image": pair[0], "label": pair[1]})
    assert data["image"].shape[1:] == data["label"].shape[1:] != (12, 10, 8)
    data["pred"] = data["label"].clone()
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=True)(data)
    assert back["pred"].shape == (1, 12, 10, 8)
    np.testing.assert_allclose(back["pred"].affine, AFFINE, atol=1e-5)
    assert (back["pred"] == 2).sum() > 0
    SaveImaged("pred", output_dir=tmp_path / "out", output_postfix="seg", separate_folder=False, print_log=False)(back)
    written = nib.load(tmp_path / "out" / "ct_seg.nii.gz")
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-4)


def test_loaded_items_make_a_batch(pair, tmp_path):
    noted = tmp_path / "noted.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(nib.load(pair[0]).dataobj) + 1000, AFFINE), noted)
    load = LoadCased("image")
    batch = list_data_collate([load({"image": pair[0]}), load({"image": noted})])
    assert batch["image"].shape == (2, 1, 12, 10, 8)


def test_a_mask_of_another_shape_names_both_files_and_shapes(pair):
    nib.save(nib.Nifti1Image(np.ones((12, 10, 7), np.uint8), AFFINE), pair[1])
    with pytest.raises(InputError) as refused:
        LoadCased(["image", "label"], label_keys="label")({"image": pair[0], "label": pair[1]})
    for part in (*map(str, pair), "(12, 10, 8)", "(12, 10, 7)"):
        assert part in str(refused.value)
    with pytest.raises(InputError, match="differ in shape"):
        load_pair(*pair)


def test_a_mask_at_another_place_is_refused(pair):
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    nib.save(nib.Nifti1Image(np.ones((12, 10, 8), np.uint8), moved), pair[1])
    with pytest.raises(InputError, match=r"different affines \(by 0\.5 mm\)"):
        load_pair(*pair)


def test_a_refusal_stays_reachable_through_monais_wrapping(tmp_path):
    with pytest.raises(RuntimeError) as wrapped:
        Compose([LoadCased("image")])({"image": tmp_path / "gone.nii.gz"})
    assert isinstance(wrapped.value.__cause__, InputError)
    assert "gone.nii.gz: no such file" in str(wrapped.value.__cause__)


def test_a_picture_and_its_mask_load(tmp_path):
    Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7)).save(tmp_path / "slice.png")
    Image.fromarray((np.arange(35).reshape(5, 7) > 20).astype(np.uint8) * 255).save(tmp_path / "mask.png")
    load = LoadCased(["image", "label"], label_keys="label")
    data = load({"image": tmp_path / "slice.png", "label": tmp_path / "mask.png"})
    assert data["image"].shape == (1, 7, 5, 1)
    assert data["image"].meta["units"] == "grey"
    assert set(data["label"].unique().tolist()) == {0, 1}


def test_several_images_in_one_folder_are_not_one(pair):
    with pytest.raises(InputError, match="holds 2 images"):
        load_volume(pair[0].parent)


def test_too_few_slices_are_refused_whatever_the_kind(pair):
    with pytest.raises(InputError, match="8 slices, at least 16 are needed"):
        LoadCased("image", min_slices=16)({"image": pair[0]})


def test_a_dicom_series_is_no_mask(tmp_path, factory):
    factory.write_series(tmp_path)
    with pytest.raises(InputError, match="a mask can't be read from DICOM"):
        LoadCased("label", label_keys="label")({"label": tmp_path})


def test_label_keys_must_be_keys():
    with pytest.raises(ValueError, match="not among keys"):
        LoadCased("image", label_keys="label")
