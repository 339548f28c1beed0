"""PNG slices and their masks."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_mask, load_volume, write_mask_png

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7


def test_a_slice_lies_as_a_radiologist_sees_it(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "slice.png")
    volume = load_volume(tmp_path / "slice.png")
    np.testing.assert_array_equal(volume.array[:, :, 0], GREY.T)
    assert nib.aff2axcodes(volume.affine_ras) == ("L", "P", "S")
    assert volume.spacing_mm == (1.0, 1.0, 1.0)
    assert (volume.units, volume.array.dtype) == ("grey", np.float32)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_in_any_mode_is_the_same_grey(tmp_path, mode):
    image = Image.fromarray(GREY)
    image.convert(mode).save(tmp_path / "slice.png")
    np.testing.assert_array_equal(load_volume(tmp_path / "slice.png").array[:, :, 0], GREY.T)


def test_sixteen_bits_span_the_same_range_as_eight(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "slice.png")
    np.testing.assert_allclose(load_volume(tmp_path / "slice.png").array[:, :, 0], GREY.T, atol=1e-3)


@settings(deadline=None, max_examples=20)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)),
    st.booleans(),
)
def test_a_written_mask_comes_back(tmp_path_factory, mask, with_slice_axis):
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    write_mask_png(path, mask[..., np.newaxis] if with_slice_axis else mask)
    with Image.open(path) as written:
        assert written.size == mask.shape
    np.testing.assert_array_equal(load_mask(path).array[:, :, 0], mask)


def test_a_binary_mask_is_black_and_white_to_look_at(tmp_path):
    write_mask_png(tmp_path / "mask.png", GREY.T > 100)
    with Image.open(tmp_path / "mask.png") as written:
        assert set(np.unique(np.asarray(written))) == {0, 255}


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([0, 255], [0, 1]),
        ([0, 1], [0, 1]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, 3, 120, 130, 255], [0, 0, 0, 1, 1]),
        ([0, 0], [0, 0]),
        ([255, 255], [1, 1]),
    ],
)
def test_masks_are_read_as_labels(tmp_path, stored, expected):
    for mode in ("L", "RGB"):
        Image.fromarray(np.array([stored], np.uint8)).convert(mode).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(load_mask(tmp_path / "mask.png").array[:, 0, 0], expected)


@pytest.mark.parametrize("keep", [0, 20, 50])
def test_a_cut_off_picture_gets_one_line(tmp_path, keep):
    Image.fromarray(GREY).save(tmp_path / "slice.png")
    (tmp_path / "slice.png").write_bytes((tmp_path / "slice.png").read_bytes()[:keep])
    with pytest.raises(InputError, match="not readable as PNG") as refused:
        load_volume(tmp_path / "slice.png")
    assert "\n" not in str(refused.value)


def test_a_picture_of_one_grey_is_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / "slice.png")
    with pytest.raises(InputError, match="every voxel is 9"):
        load_volume(tmp_path / "slice.png")


def test_labels_beyond_eight_bits_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="integers from 0 to 255"):
        write_mask_png(tmp_path / "mask.png", np.full((4, 4), 300))
