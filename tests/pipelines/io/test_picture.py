"""PNG and JPEG pictures and masks: the grey values that a viewer shows, refusals before anything large is decoded."""

import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume, load_mask, load_volume, write_mask_png
from radseg.pipelines.io.picture import read_mask_picture, read_picture

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7


def smooth(height=48, width=64):
    """A picture that JPEG hardly changes."""
    rows, columns = np.mgrid[:height, :width]
    return np.rint(columns * 180 / width + rows * 60 / height + 10).astype(np.uint8)


def disc(size=64, radius=20):
    """A black and white mask with a smooth edge: its in-between values are where the edge is."""
    rows, columns = np.mgrid[:size, :size] - size / 2 + 0.5
    return np.rint(np.clip(radius - np.hypot(rows, columns) + 0.5, 0, 1) * 255).astype(np.uint8)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bytes(width, height, bit_depth, colour_type, rows):
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def refusal_of(read, path):
    with pytest.raises(InputError) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_slice_lies_as_a_radiologist_sees_it(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "slice.png")
    volume = load_volume(tmp_path / "slice.png")
    np.testing.assert_array_equal(volume.array[:, :, 0], GREY.T)
    assert nib.aff2axcodes(volume.affine_ras) == ("L", "P", "S")
    assert volume.spacing_mm == (1.0, 1.0, 1.0)
    assert (volume.units, volume.array.dtype) == ("grey", np.float32)


def test_nobody_knows_how_large_the_pixels_of_a_picture_are(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "slice.png", dpi=(300, 300))
    volume = load_volume(tmp_path / "slice.png")
    assert (volume.spacing_known, volume.is_picture) == (False, True)
    assert volume.to_tensor().meta["spacing_known"] is False
    assert Volume(volume.array, volume.affine_ras, "HU").spacing_known


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_in_any_mode_is_the_same_grey(tmp_path, mode):
    image = Image.fromarray(GREY)
    image.convert(mode).save(tmp_path / "slice.png")
    np.testing.assert_array_equal(load_volume(tmp_path / "slice.png").array[:, :, 0], GREY.T)


def test_sixteen_bits_span_the_same_range_as_eight(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "slice.png")
    np.testing.assert_allclose(load_volume(tmp_path / "slice.png").array[:, :, 0], GREY.T, atol=1e-3)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colour_and_alpha_give_the_upper_eight_bits(tmp_path, colour_type, channels):
    deep = np.repeat((GREY.astype(">u2") * 256 + 77)[..., np.newaxis], channels, axis=2)
    if colour_type != 2:
        deep[..., -1] = 65535
    rows = [row.astype(">u2").tobytes() for row in deep]
    (tmp_path / "deep.png").write_bytes(png_bytes(7, 5, 16, colour_type, rows))
    np.testing.assert_array_equal(read_picture(tmp_path / "deep.png").array[:, :, 0], GREY.T)


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(GREY > 100).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "bits.png").array[:, :, 0], (GREY > 100).T * 255)
    np.testing.assert_array_equal(read_mask_picture(tmp_path / "bits.png").array[:, :, 0], (GREY > 100).T)


def test_colours_become_grey_by_their_luminance(tmp_path):
    red_green_blue = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    for name, image in (("rgb", Image.fromarray(red_green_blue)), ("p", Image.fromarray(red_green_blue).quantize(3))):
        image.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_picture(tmp_path / f"{name}.png").array[:, 0, 0], [76, 150, 29])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPG"])
def test_a_jpeg_shows_what_was_put_into_it(tmp_path, mode, suffix):
    path = tmp_path / f"chest.{suffix}"
    Image.fromarray(smooth()).convert(mode).save(path, "JPEG", quality=95)
    volume = load_volume(path)
    assert volume.array.shape == (64, 48, 1)
    assert abs(volume.array[:, :, 0] - smooth().T).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_picture_stands_as_its_exif_orientation_says(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{kind}"
    Image.fromarray(smooth()).save(path, exif=exif, quality=95)
    with Image.open(path) as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored))
    volume = read_picture(path)
    np.testing.assert_array_equal(volume.array[:, :, 0], upright.T)
    assert volume.notes == (() if orientation == 1 else ("turned upright as its EXIF orientation says",))


def test_damaged_exif_data_leave_the_picture_as_stored(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "x.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_picture(tmp_path / "x.jpg").array.shape == (64, 48, 1)


def test_transparency_is_ignored_and_said(tmp_path):
    rgba = np.dstack([GREY, GREY, GREY, np.where(GREY > 100, 0, 255)]).astype(np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    volume = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(volume.array[:, :, 0], GREY.T)
    assert volume.notes == ("transparency ignored",)
    Image.fromarray(GREY // 8).convert("P").save(tmp_path / "p.png", transparency=bytes([0, 128, 255]))
    assert read_picture(tmp_path / "p.png").notes == ("transparency ignored",)


def test_a_picture_that_is_transparent_everywhere_is_refused(tmp_path):
    Image.fromarray(np.dstack([GREY, GREY, GREY, 0 * GREY])).save(tmp_path / "a.png")
    assert "every pixel is transparent" in refusal_of(read_picture, tmp_path / "a.png")


def test_a_mask_drawn_in_the_transparency_is_refused_instead_of_read_as_full(tmp_path):
    alpha = np.where(GREY > 100, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([0 * GREY + 255] * 3 + [alpha])).save(tmp_path / "a.png")
    assert "drawn by transparency alone" in refusal_of(read_mask_picture, tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_twenty_thousand_pixels_square_are_refused_by_the_header_alone(tmp_path, kind):
    path = tmp_path / f"huge.{kind}"
    if kind == "png":
        path.write_bytes(png_bytes(20_000, 20_000, 8, 0, [b"few"]))
    else:
        Image.fromarray(smooth()).save(path)
        small = path.read_bytes()
        size_at = small.index(b"\xff\xc0") + 5
        path.write_bytes(small[:size_at] + struct.pack(">HH", 20_000, 20_000) + small[size_at + 4 :])
    for read in (load_volume, load_mask):
        assert "20000×20000 pixels, at most 100 megapixels are read; crop or reduce" in refusal_of(read, path)


def test_a_picture_twenty_thousand_pixels_wide_is_read(tmp_path):
    wide = np.zeros((2_000, 20_000), np.uint8)
    wide[700, 19_000] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png", compress_level=1)
    volume = load_volume(tmp_path / "wide.png")
    assert volume.array.shape == (20_000, 2_000, 1)
    assert volume.array[19_000, 700, 0] == 200


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
        ([0, 15], [0, 15]),
        ([0, 0], [0, 0]),
        ([255, 255], [1, 1]),
    ],
)
def test_masks_are_read_as_labels(tmp_path, stored, expected):
    for mode in ("L", "RGB", "LA"):
        Image.fromarray(np.array([stored], np.uint8)).convert(mode).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(load_mask(tmp_path / "mask.png").array[:, 0, 0], expected)


@pytest.mark.parametrize(("stored", "expected"), [([0, 65535], [0, 1]), ([0, 255], [0, 1]), ([0, 3], [0, 3])])
def test_sixteen_bit_masks_are_read_as_labels(tmp_path, stored, expected):
    Image.fromarray(np.array([stored], np.uint16)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png").array[:, 0, 0], expected)


@pytest.mark.parametrize(
    ("palette", "expected"),
    [
        ([0, 0, 0, 128, 0, 0, 0, 128, 0], [0, 1, 2]),
        ([255, 255, 255, 0, 0, 0, 0, 0, 0], [1, 0, 0]),
    ],
    ids=["colours stand for labels", "black and white stand for themselves"],
)
def test_palette_masks_are_labels_unless_the_palette_is_black_and_white(tmp_path, palette, expected):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette(palette)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png").array[:, 0, 0], expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, 100, 200], "the mask holds 0, 100, 200, where 0/1, 0/255 or labels up to 15 is wanted; threshold"),
        ([0, 100], "the mask holds 0, 100,"),
        ([0, 128, 255], "the mask holds 0, 128, 255,"),
        ([0, 16], "the mask holds 0, 16,"),
        (range(0, 200, 3), "the mask holds 0, 3, 6, 9, 12 … 198 (67 values)"),
    ],
)
def test_a_mask_of_other_values_is_refused_by_their_names(tmp_path, values, said):
    Image.fromarray(np.repeat(np.array([values], np.uint8), 8, axis=0)).save(tmp_path / "mask.png")
    assert said in refusal_of(load_mask, tmp_path / "mask.png")


def test_a_photograph_is_no_mask(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "photo.jpg")
    assert "black and white (all that a JPEG can hold) is wanted" in refusal_of(load_mask, tmp_path / "photo.jpg")


def test_a_third_value_that_is_small_but_no_edge_is_refused(tmp_path):
    values = np.zeros((64, 64), np.uint8)
    values[8:40, 8:40] = 255
    values[50:58, 50:58] = 128
    assert (values == 128).mean() < 0.02
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert "the mask holds 0, 128, 255," in refusal_of(load_mask, tmp_path / "mask.png")


def test_a_colour_mask_is_refused_by_name(tmp_path):
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[1:3, 1:3, 0] = 255
    Image.fromarray(colours).save(tmp_path / "mask.png")
    assert "a colour picture, not a mask; save the mask as grey" in refusal_of(load_mask, tmp_path / "mask.png")


def test_smooth_edges_are_cut_at_half_and_noted(tmp_path):
    between = ((disc() > 0) & (disc() < 255)).mean()
    assert 0 < between < 0.05
    Image.fromarray(disc()).save(tmp_path / "mask.png")
    mask = load_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(mask.array[:, :, 0], (disc() > 127.5).T)
    assert mask.notes == (f"{int(between * 4096)} values between black and white ({between:.2%}) cut at half",)


@settings(deadline=None, max_examples=20)
@given(st.integers(40, 95), st.integers(8, 24), st.sampled_from(["L", "RGB"]))
def test_a_mask_saved_as_jpeg_is_still_that_mask(tmp_path_factory, quality, radius, mode):
    path = tmp_path_factory.mktemp("mask") / "mask.jpg"
    truth = disc(radius=radius) > 127
    Image.fromarray(truth.astype(np.uint8) * 255).convert(mode).save(path, quality=quality)
    assert (load_mask(path).array[:, :, 0] != truth.T).mean() < 0.01


def test_labels_in_a_jpeg_are_refused_because_jpeg_blurs_them(tmp_path):
    Image.fromarray(np.full((16, 16), 6, np.uint8)).save(tmp_path / "mask.jpg")
    assert "save it as PNG" in refusal_of(load_mask, tmp_path / "mask.jpg")


@pytest.mark.parametrize("keep", [0, 20, 50, -20])
def test_a_cut_off_picture_gets_one_line(tmp_path, keep):
    for name in ("slice.png", "slice.jpg"):
        path = tmp_path / name
        Image.fromarray(smooth()).save(path)
        path.write_bytes(path.read_bytes()[:keep])
        for read in (load_volume, load_mask):
            assert "not readable as PNG or JPEG" in refusal_of(read, path)


def test_something_else_called_png_gets_one_line(tmp_path):
    (tmp_path / "slice.png").write_bytes(b"GIF89a" + bytes(100))
    assert "not readable as PNG or JPEG, whatever its name says" in refusal_of(load_volume, tmp_path / "slice.png")


def test_a_jpeg_called_png_is_read_by_what_it_is(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "chest.png", "JPEG")
    assert load_volume(tmp_path / "chest.png").array.shape == (64, 48, 1)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(["PNG", "JPEG"]))
def test_a_changed_byte_never_gives_a_traceback(tmp_path_factory, data, kind):
    path = tmp_path_factory.mktemp("broken") / "x.png"
    Image.fromarray(smooth(16, 24)).save(path, kind)
    contents = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(contents) - 1))
    contents[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(contents)
    try:
        volume = read_picture(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert np.isfinite(volume.array).all()
        if kind == "PNG":  # its checksums leave no change unseen
            np.testing.assert_array_equal(volume.array[:, :, 0], smooth(16, 24).T)


@pytest.mark.parametrize("value", [0, 9])
def test_a_picture_of_one_grey_is_refused(tmp_path, value):
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / "slice.png")
    assert f"every voxel is {value} (constant image)" in refusal_of(load_volume, tmp_path / "slice.png")


def test_labels_beyond_eight_bits_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="integers from 0 to 255"):
        write_mask_png(tmp_path / "mask.png", np.full((4, 4), 300))
