"""NRRD and MetaImage files."""

import numpy as np
import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_mask, load_volume
from radseg.pipelines.io.itk_image import image_files

HU = (np.arange(6 * 5 * 4).reshape(6, 5, 4) - 1000).astype("<i2")
MHA = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 0 1 0 -1 0 0 0 0 1
Offset = 10 20 30
ElementSpacing = {spacing}
DimSize = 6 5 4
ElementType = MET_SHORT
ElementDataFile = {file}
"""
NRRD = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 6 5 4
space directions: (0,0.7,0) (-0.8,0,0) (0,0,2.5)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (10,20,30)
{extra}
"""
AFFINE_RAS = np.array([[0, 0.8, 0, -10], [-0.7, 0, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])


def mha(path, file="LOCAL", spacing="0.7 0.8 2.5", voxels=HU):
    data = voxels.tobytes(order="F")
    path.write_bytes(MHA.format(file=file, spacing=spacing).encode() + (data if file == "LOCAL" else b""))
    if file != "LOCAL":
        (path.parent / file).write_bytes(data)
    return path


def nrrd(path, file=""):
    data = HU.tobytes(order="F")
    extra = f"data file: {file}\n" if file else ""
    path.write_bytes(NRRD.format(extra=extra).encode() + (b"" if file else data))
    if file:
        (path.parent / file).write_bytes(data)
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: mha(folder / "ct.mha"),
        lambda folder: mha(folder / "ct.mhd", "ct.raw"),
        lambda folder: nrrd(folder / "ct.nrrd"),
        lambda folder: nrrd(folder / "ct.nhdr", "ct.raw"),
    ],
    ids=["mha", "mhd", "nrrd", "nhdr"],
)
def test_voxels_lie_where_the_header_says(tmp_path, write):
    volume = load_volume(write(tmp_path))
    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.affine_ras, AFFINE_RAS, atol=1e-6)
    assert (volume.array.dtype, volume.units) == (np.float32, "HU")


def test_a_mask_keeps_its_values(tmp_path):
    mask = load_mask(mha(tmp_path / "mask.mha", voxels=(HU % 3).astype("<i2")))
    np.testing.assert_array_equal(mask.array, HU % 3)


def test_the_voxel_file_counts_as_part_of_the_image(tmp_path):
    assert image_files(mha(tmp_path / "ct.mhd", "ct.raw")) == (tmp_path / "ct.mhd", tmp_path / "ct.raw")
    assert image_files(mha(tmp_path / "ct.mha")) == (tmp_path / "ct.mha",)


def test_a_header_may_not_point_out_of_its_folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = mha(inside / "ct.mhd", "../secret.raw")
    with pytest.raises(InputError, match="lies elsewhere"):
        load_volume(path)


def test_a_missing_voxel_file_is_named(tmp_path):
    path = mha(tmp_path / "ct.mhd", "ct.raw")
    (tmp_path / "ct.raw").unlink()
    with pytest.raises(InputError, match=r"its voxel file ct\.raw is missing"):
        load_volume(path)


def _cut(path):
    mha(path)
    path.write_bytes(path.read_bytes()[:-50])


def _zero_spacing(path):
    mha(path, spacing="0.7 0 2.5")


def _vectors(path):
    mha(path)
    text = path.read_bytes().replace(b"ElementType", b"ElementNumberOfChannels = 3\nElementType")
    path.write_bytes(text + bytes(6 * 5 * 4 * 4))


def _no_image(path):
    path.write_text("not an image")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_cut, "damaged or cut-off"),
        (_zero_spacing, "spacing"),
        (_vectors, "3 values a voxel"),
        (_no_image, "ct.mha"),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path, capfd, make, said):
    path = tmp_path / "ct.mha"
    make(path)
    with pytest.raises(InputError) as refused:
        load_volume(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
