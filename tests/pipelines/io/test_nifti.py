"""NIfTI files in every form, and masks written back."""

import gzip
import subprocess
import sys
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_mask, load_volume, nifti_voxels, write_mask
from radseg.pipelines.io.nifti import read_nifti, write_map
from radseg.pipelines.io.volume import as_float32, checked_image

AFFINE = np.array([[0.0, -0.8, 0, 12], [0.7, 0, 0, -30], [0, 0, 2.5, 4], [0, 0, 0, 1]])


def voxels(shape=(6, 5, 4)):
    return (np.arange(np.prod(shape)).reshape(shape) - 1000).astype(np.int16)


def save(path, array=None, affine=AFFINE, change=None, image_class=nib.Nifti1Image):
    image = image_class(voxels() if array is None else array, affine)
    if change:
        change(image.header)
    nib.save(image, path)
    return path


def patch(path, offset, value):
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "CT.NII.GZ"])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_voxels_and_affine_come_as_they_lie_in_the_file(tmp_path, name, image_class):
    volume = load_volume(save(tmp_path / name, image_class=image_class))
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.affine_ras, AFFINE, atol=1e-6)
    assert (volume.array.dtype, volume.units, volume.notes) == (np.int16, "HU", ())


@pytest.mark.parametrize("name", ["big.nii", "big.nii.gz"])
@pytest.mark.parametrize("stored", [">i2", ">f4"])
def test_big_endian_files_are_read(tmp_path, name, stored):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(stored)
    nib.save(nib.Nifti1Image(voxels().astype(stored), AFFINE, header), tmp_path / name)
    volume = load_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, voxels())
    assert volume.array.dtype == np.dtype(stored).newbyteorder("=")


@settings(deadline=None, max_examples=40)
@given(
    stored=st.sampled_from(["i1", "u1", "i2", "u2", "i4", "f4", "f8"]),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    slope=st.sampled_from([0.0, 1.0, 2.0, 0.25]),
    intercept=st.sampled_from([0.0, -1024.0, 40000.0, -1e6, 0.5]),
    zipped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_number_comes_as_the_header_says(tmp_path_factory, stored, shape, slope, intercept, zipped, seed):
    rng, kind = np.random.default_rng(seed), np.dtype(stored)
    limits = np.iinfo(kind) if kind.kind in "iu" else np.finfo(np.float16)
    array = rng.uniform(float(limits.min), float(limits.max), shape).astype(kind)
    path = tmp_path_factory.mktemp("numbers") / ("ct.nii.gz" if zipped else "ct.nii")
    header = nib.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape(shape)
    header.set_sform(AFFINE, code=1)
    header["scl_slope"], header["scl_inter"] = slope, intercept
    with gzip.open(path, "wb") if zipped else path.open("wb") as file:
        header.write_to(file)
        file.write(array.tobytes(order="F"))
    expected = array.astype(np.float32)
    if slope:
        expected = expected * np.float32(slope) + np.float32(intercept)
    volume = read_nifti(path)
    np.testing.assert_array_equal(volume.array, expected)
    whole = slope in (0, 1) and (not slope or intercept.is_integer())
    fits = expected.min() >= -32768 and expected.max() <= 32767 and (not slope or abs(intercept) <= 32767)
    assert (volume.array.dtype == np.int16) == (stored in ("i1", "u1", "i2") and whole and fits)
    assert volume.array.dtype in (np.int16, np.float32)
    assert read_nifti(path, units="label").array.dtype == np.float32


@pytest.mark.parametrize("stored", [np.int16, np.float32])
def test_writing_to_voxels_of_a_mapped_file_leaves_the_file_alone(tmp_path, monkeypatch, stored):
    monkeypatch.setattr(nifti_voxels, "MAPPED_FROM_BYTES", 0)
    path = save(tmp_path / "ct.nii", voxels().astype(stored))
    before = path.read_bytes()
    volume = load_volume(path)
    tensor = volume.to_tensor()
    assert np.shares_memory(tensor.numpy(), volume.array)
    tensor += 1
    np.testing.assert_array_equal(tensor.numpy()[0], voxels() + 1)
    assert path.read_bytes() == before


def test_an_uncompressed_file_that_cant_be_mapped_is_read(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(19, "No such device")

    monkeypatch.setattr(nifti_voxels, "MAPPED_FROM_BYTES", 0)
    monkeypatch.setattr(nifti_voxels.mmap, "mmap", refuse)
    np.testing.assert_array_equal(load_volume(save(tmp_path / "ct.nii")).array, voxels())


def test_an_image_can_be_kept_without_keeping_its_file_open(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti_voxels, "MAPPED_FROM_BYTES", 0)
    path = save(tmp_path / "ct.nii", voxels().astype(np.float32))
    volume = load_volume(path)
    kept = as_float32(volume)
    assert not np.shares_memory(kept.array, volume.array)
    assert as_float32(kept) is kept
    np.testing.assert_array_equal(kept.array, voxels())


_READ_AND_CHECK = """
import sys, threading
from pathlib import Path
from radseg.pipelines.io import nifti_voxels
from radseg.pipelines.io.nifti import read_nifti
from radseg.pipelines.io.volume import checked_image

nifti_voxels.MAPPED_FROM_BYTES = 0

def anonymous_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

path = Path(sys.argv[1])
checked_image(read_nifti(path.with_name("small.nii")), path)
before, most, done = anonymous_mb(), [], threading.Event()

def watch():
    while not done.wait(0.002):
        most.append(anonymous_mb())

watcher = threading.Thread(target=watch)
watcher.start()
array = checked_image(read_nifti(path), path).array
most.append(anonymous_mb())
done.set()
watcher.join()
print(array.dtype, *array.shape, array.min(), max(most) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory")
def test_a_large_uncompressed_ct_is_read_and_checked_in_little_memory(tmp_path):
    shape = (512, 512, 600)  # 300 MB
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(AFFINE, code=1)
    save(tmp_path / "small.nii")
    path = tmp_path / "ct.nii"
    with path.open("wb") as file:
        header.write_to(file)
        file.seek(352 + 512 * 512 * 300 * 2)  # a sparse file: zeros but for the middle slice
        file.write(np.full(512 * 512, -321, np.int16).tobytes())
        file.truncate(352 + 512 * 512 * 600 * 2)
    command = [sys.executable, "-c", _READ_AND_CHECK, str(path)]
    *told, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert told == ["int16", "512", "512", "600", "-321"]
    assert float(grown) < 60


def test_a_small_file_is_read_so_that_cutting_it_short_cannot_end_the_process(tmp_path):
    path = save(tmp_path / "ct.nii")
    volume = load_volume(path)
    path.write_bytes(b"")
    np.testing.assert_array_equal(volume.array, voxels())


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_a_mask_keeps_the_place_of_a_source_whose_name_lies_about_gzip(tmp_path, name):
    other = "ct.nii" if name.endswith("gz") else "ct.nii.gz"
    save(tmp_path / other).rename(tmp_path / name)
    mask = np.ones(voxels().shape, np.uint8)
    write_mask(tmp_path / "mask.nii.gz", mask, AFFINE, source=tmp_path / name)
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii.gz").affine, read_nifti(tmp_path / name).affine_ras)


def test_a_packed_ct_is_read_without_a_second_copy(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 1000, (256, 256, 128)).astype(np.int16)
    path = save(tmp_path / "ct.nii.gz", array)
    tracemalloc.start()
    try:
        volume = checked_image(read_nifti(path), path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(volume.array, array)
    assert most < array.nbytes + 12e6


def test_the_files_own_scaling_is_applied(tmp_path):
    image = nib.Nifti1Image(voxels(), AFFINE)
    image.header.set_slope_inter(2, -10)
    nib.save(image, tmp_path / "ct.nii")
    stored = nib.load(tmp_path / "ct.nii")
    assert stored.dataobj.slope == 2
    np.testing.assert_allclose(load_volume(tmp_path / "ct.nii").array, stored.get_fdata(), atol=1e-3)


def test_a_fourth_axis_of_one_is_dropped_and_a_flat_image_is_one_slice(tmp_path):
    assert load_volume(save(tmp_path / "a.nii", voxels((6, 5, 4, 1)))).array.shape == (6, 5, 4)
    flat = load_volume(save(tmp_path / "b.nii", voxels((6, 5))))
    assert flat.array.shape == (6, 5, 1)
    assert np.linalg.det(flat.affine_ras[:3, :3]) != 0


def test_a_header_without_any_orientation_is_taken_with_a_note(tmp_path):
    def change(header):
        header["sform_code"] = header["qform_code"] = 0

    file = save(tmp_path / "ct.nii", affine=None, change=change)
    assert "neither sform nor qform" in load_volume(file).notes[0]


def test_metres_become_millimetres_with_a_note(tmp_path):
    affine = AFFINE.copy()
    affine[:3] /= 1000
    volume = load_volume(save(tmp_path / "ct.nii", affine=affine, change=lambda header: header.set_xyzt_units("meter")))
    np.testing.assert_allclose(volume.affine_ras, AFFINE, atol=1e-3)
    assert "turned to mm" in volume.notes[0]


def _truncated(path):
    save(path)
    path.write_bytes(path.read_bytes()[:-40])


def _corrupt(path):
    save(path, np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16))
    data = bytearray(gzip.decompress(path.read_bytes()))
    packed = bytearray(gzip.compress(bytes(data)))
    packed[-8] ^= 0xFF
    path.write_bytes(packed)


def _empty(path):
    path.write_bytes(b"")


def _other(path):
    path.write_text("<html>This isn't an image, whatever the portal called it.</html>" * 20)


def _four_d(path):
    save(path, voxels((6, 5, 4, 3)))


def _rgb(path):
    save(path, np.zeros((6, 5, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def _nan(path):
    array = voxels().astype(np.float32)
    array[1, 2, 3] = np.nan
    save(path, array)


def _infinite(path):
    array = voxels().astype(np.float32)
    array[1, 2, 3] = -np.inf
    save(path, array)


def _constant(path):
    save(path, np.full((6, 5, 4), -1024, np.int16))


def _singular(path):
    def change(header):
        header.set_sform(np.array([[1.0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), code=1)

    save(path, affine=None, change=change)


def _zero_affine(path):
    save(path, affine=None, change=lambda header: header.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), code=1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_truncated, "damaged or cut-off NIfTI"),
        (_corrupt, "damaged or cut-off NIfTI"),
        (_empty, "empty or cut-off file"),
        (_other, "not a NIfTI file"),
        (_four_d, "4-D image of shape (6, 5, 4, 3); save one 3-D volume"),
        (_rgb, "RGB voxels"),
        (_nan, "NaN or infinite voxels"),
        (_infinite, "NaN or infinite voxels"),
        (_constant, "every voxel is -1024 (constant image)"),
        (_singular, "the affine is singular"),
        (_zero_affine, "zero spacing (1 × 0 × 1 mm)"),
    ],
)
def test_a_bad_file_gets_one_line_with_its_name_and_a_remedy(tmp_path, make, said):
    path = tmp_path / "ct.nii.gz"
    make(path)
    with pytest.raises(InputError) as refused:
        load_volume(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    assert said in text
    assert ";" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("spacing", "said"), [(0.0, "zero spacing"), (-1.5, "negative spacing"), (float("nan"), "NaN or infinite spacing")]
)
def test_spacing_that_is_no_length_is_refused(tmp_path, spacing, said):
    path = save(tmp_path / "ct.nii")
    patch(path, 76 + 4 * 2, np.float32(spacing).tobytes())  # pixdim[2]
    with pytest.raises(InputError, match=said):
        load_volume(path)


@pytest.mark.parametrize("stored", ["i2", "u1", "f4", "f8"])
def test_a_cut_off_uncompressed_file_is_refused(tmp_path, stored):
    path = save(tmp_path / "ct.nii", (voxels() % 100).astype(stored))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged or cut-off NIfTI"):
        load_volume(path)


def test_an_image_whose_values_hardly_are_hu_is_noted(tmp_path):
    volume = load_volume(save(tmp_path / "ct.nii", voxels() + 1000))
    assert "check that the values are HU" in volume.notes[0]


def test_an_empty_mask_is_a_mask_and_values_are_rounded(tmp_path):
    assert not load_mask(save(tmp_path / "a.nii.gz", np.zeros((6, 5, 4), np.uint8))).array.any()
    rounded = load_mask(save(tmp_path / "b.nii.gz", np.full((6, 5, 4), 1.9999, np.float32)))
    assert (rounded.array == 2).all()
    assert rounded.units == "label"
    assert rounded.array.dtype == np.float32


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.lists(st.floats(0.3, 5), min_size=3, max_size=3))
def test_a_mask_lies_where_its_dicom_image_does(tmp_path_factory, angles, spacing):
    x, y, z = angles
    turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn_x @ turn_y @ turn_z * np.array(spacing) * [-1, -1, 1]
    affine[:3, 3] = (100.0, -50.0, 7.0)
    path = tmp_path_factory.mktemp("mask") / "mask.nii.gz"
    mask = (voxels() % 3).astype(np.uint8)
    write_mask(path, mask, affine)
    written = nib.load(path)
    np.testing.assert_allclose(written.affine, affine, atol=1e-4)
    np.testing.assert_allclose(written.get_qform(), affine, atol=1e-2)  # three float32 numbers of a quaternion
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    assert written.get_data_dtype() == np.uint8
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (1, 1)


def test_a_mask_of_a_nifti_keeps_its_grid_and_codes_and_nothing_else(tmp_path):
    def change(header):
        header.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
        header.set_sform(AFFINE, code=2)
        header["descrip"] = b"DOE^JANE 1950"
        header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"patient"))

    source = save(tmp_path / "ct.nii", voxels((6, 5, 4, 1)), change=change)
    write_mask(tmp_path / "mask.nii.gz", np.ones((6, 5, 4), np.uint8), load_volume(source).affine_ras, source=source)
    image, written = nib.load(source), nib.load(tmp_path / "mask.nii.gz")
    assert written.shape == image.shape
    np.testing.assert_array_equal(written.affine, image.affine)
    np.testing.assert_array_equal(written.get_qform(), image.get_qform())
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (2, 1)
    assert written.header["descrip"] == b""
    assert not written.header.extensions
    assert written.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("endianness", ["<", ">"])
def test_a_mask_of_a_nifti_without_orientation_has_its_affine(tmp_path, endianness):
    header = nib.Nifti1Header(endianness=endianness)
    header["sform_code"] = header["qform_code"] = 0
    nib.save(nib.Nifti1Image(voxels(), None, header), tmp_path / "ct.nii")
    write_mask(tmp_path / "mask.nii", voxels() % 2, np.eye(4), source=tmp_path / "ct.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").affine, nib.load(tmp_path / "ct.nii").affine)


def test_masks_written_twice_are_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_mask(tmp_path / name, voxels() % 2, AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("order", ["F", "C"])
def test_a_mask_is_written_slab_by_slab_whatever_its_order(tmp_path, order, monkeypatch):
    from radseg.pipelines.io import nifti

    mask = np.array(voxels((7, 6, 5)) % 251, np.uint8, order=order)
    write_mask(tmp_path / "whole.nii.gz", mask, AFFINE)
    monkeypatch.setattr(nifti, "_SLAB_BYTES", 90)
    write_mask(tmp_path / "slabs.nii.gz", mask, AFFINE)
    for name in ("whole.nii.gz", "slabs.nii.gz"):
        np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / name).dataobj), mask)


def test_a_large_mask_is_written_without_a_copy(tmp_path):
    mask = np.zeros((256, 256, 200), np.uint8, order="F")
    mask[40:90, 60:99, 100:150] = 2
    tracemalloc.start()
    try:
        write_mask(tmp_path / "mask.nii.gz", mask, AFFINE)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.nii.gz").array, mask)
    assert most < mask.nbytes / 4


def test_a_map_reads_as_numbers_from_0_to_1_on_the_grid_of_its_source(tmp_path):
    source = save(tmp_path / "ct.nii.gz")
    values = (voxels() % 256).astype(np.uint8)
    write_map(tmp_path / "map.nii.gz", values, np.eye(4), source=source)
    write_map(tmp_path / "again.nii.gz", values, np.eye(4), source=source)
    written = nib.load(tmp_path / "map.nii.gz")
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.get_fdata(), values / 255, atol=1e-6)
    np.testing.assert_array_equal(written.affine, nib.load(source).affine)
    np.testing.assert_allclose(read_nifti(tmp_path / "map.nii.gz", units="").array, values / 255, atol=1e-6)
    assert (tmp_path / "map.nii.gz").read_bytes() == (tmp_path / "again.nii.gz").read_bytes()
    with pytest.raises(ValueError, match="uint8, not float64"):
        write_map(tmp_path / "wrong.nii.gz", values / 255, np.eye(4))
    with pytest.raises(ValueError, match="doesn't fit"):
        write_map(tmp_path / "wrong.nii.gz", values[1:], np.eye(4), source=source)
    assert not (tmp_path / "wrong.nii.gz").exists()


def test_values_that_no_mask_has_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="integers from 0 to 255"):
        write_mask(tmp_path / "mask.nii.gz", np.full((2, 2, 2), 0.5), AFFINE)
    assert not (tmp_path / "mask.nii.gz").exists()
