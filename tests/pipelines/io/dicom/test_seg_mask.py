"""A DICOM Segmentation is read as a mask on its image's own grid, wherever and however its frames lie."""

from pathlib import Path

import finding_factory as factory
import highdicom
import nibabel as nib
import numpy as np
import pytest
import seg_sources as seg

from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.segmentation import segmentation
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.seg_mask import is_segmentation, read_segmentation
from radseg.pipelines.io.load import as_case, load_volume
from radseg.pipelines.io.volume import Volume

SHAPE = (11, 6, 5)
CLEAR, UNLIKELY = 200, 60
"""Of a fractional segmentation, in which 255 is 1."""


def save(found: Finding, kind: str, folder: Path) -> Path:
    file = folder / f"{kind}.dcm"
    segmentation(found, kind).save_as(file, enforce_file_format=True)
    return file


def read(file: Path, image: Path, modality: str = "CT") -> tuple[Volume, Volume]:
    """The mask and its image."""
    case = as_case(image, modality=modality)
    volume = load_volume(case, modality=modality)
    return read_segmentation(file, case, volume), volume


def box(shape: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[3:9, 1:5, 1:4] = 1
    mask[4:6, 2:4, 2:4] = 2
    return mask


@pytest.mark.parametrize("how", seg.STRAIGHT)
@pytest.mark.parametrize("kind", seg.KINDS)
def test_every_voxel_comes_back(how: str, kind: str, tmp_path: Path) -> None:
    case = seg.write(tmp_path / "ct", how, SHAPE)
    mask = seg.random_finding(case, 3).mask
    probability = np.stack([np.where(mask == label, CLEAR, UNLIKELY) for label in (1, 2)]).astype(np.uint8)
    found = seg.finding(case, mask, probability)
    read_mask, volume = read(save(found, kind, tmp_path), tmp_path / "ct")
    np.testing.assert_allclose(volume.affine_ras, found.affine_ras, atol=1e-4)
    np.testing.assert_array_equal(read_mask.array, mask)
    assert read_mask.notes == ()
    assert read_mask.units == "label"


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "SRA"])
def test_a_nifti_of_the_series_gets_the_mask_at_the_same_millimetres(axcodes: str, tmp_path: Path) -> None:
    found = seg.finding(seg.write(tmp_path / "ct", "oblique", SHAPE), box(SHAPE))
    file = save(found, "binary", tmp_path)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(found.affine_ras), nib.orientations.axcodes2ornt(axcodes)
    )
    hu = load_volume(tmp_path / "ct").array
    image, wanted = (nib.Nifti1Image(np.asarray(one), found.affine_ras).as_reoriented(turn) for one in (hu, found.mask))
    nib.save(image, tmp_path / "ct.nii.gz")
    read_mask, _ = read(file, tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(read_mask.array, np.asarray(wanted.dataobj))


@pytest.mark.parametrize("how", seg.BENT)
def test_a_bent_series_and_its_mask_are_straightened_alike(how: str, tmp_path: Path) -> None:
    case = seg.write(tmp_path / "ct", how, SHAPE)
    found = seg.finding(case, (box(SHAPE) > 0).astype(np.uint8))
    file = save(found, "binary", tmp_path)
    shown = seg.truth(found, found.mask)
    for path in case.files:  # bright in the image is what the frames show
        factory.dicom.rewrite(
            path,
            lambda one: factory.dicom.store(one, 1024 + 1000 * shown[one.SOPInstanceUID, 1].astype(np.int32)),
        )
    read_mask, volume = read(file, tmp_path / "ct")
    assert volume.notes  # of what was done to it
    np.testing.assert_array_equal(read_mask.array > 0, volume.array >= 500)
    assert read_mask.array.any()


def test_a_radiograph_s_mask_lies_on_its_columns_and_rows(tmp_path: Path) -> None:
    file = factory.dicom.write_radiograph(tmp_path / "dx.dcm", np.arange(66).reshape(6, 11), SeriesNumber=2)
    mask = np.zeros((11, 6, 1), np.uint8)
    mask[2:5, 1:3] = 1
    found = seg.finding(factory.only_case(file, "DX"), mask)
    read_mask, _ = read(save(found, "binary", tmp_path), file, "DX")
    np.testing.assert_array_equal(read_mask.array, mask)
    other = factory.dicom.write_radiograph(tmp_path / "other.dcm", np.arange(60).reshape(6, 10), SeriesNumber=2)
    with pytest.raises(InputError, match="11×6 pixels, the image 10×6; give the image that it was drawn on"):
        read(tmp_path / "binary.dcm", other, "DX")


@pytest.mark.parametrize("how", ["regular", "tilted"])
def test_a_series_that_lies_elsewhere_is_refused(how: str, tmp_path: Path) -> None:
    file = save(seg.finding(seg.write(tmp_path / "ct", how, SHAPE), box(SHAPE)), "binary", tmp_path)
    shift = (0.0, 0.37, 0.0) if how == "tilted" else (0.0, 0.0, 0.0)
    factory.series(tmp_path / "moved", SHAPE, origin=(10.3, -20.0, 30.0), shift=shift)
    with pytest.raises(InputError, match=r"binary\.dcm: doesn't lie on the slices of .*moved.*give the series"):
        read(file, tmp_path / "moved")


def test_another_series_at_the_same_place_is_told(tmp_path: Path) -> None:
    file = save(seg.finding(seg.write(tmp_path / "ct", "regular", SHAPE), box(SHAPE)), "binary", tmp_path)
    factory.series(tmp_path / "copy", SHAPE, uid="1.2.826.0.1.3680043.8.498.99")
    read_mask, _ = read(file, tmp_path / "copy")
    np.testing.assert_array_equal(read_mask.array, box(SHAPE))
    (note,) = read_mask.notes
    assert "another series" in note


def test_only_segmentations_are_taken_for_one_and_a_cut_off_one_is_told(tmp_path: Path) -> None:
    case = seg.write(tmp_path / "ct", "regular", SHAPE)
    file = save(seg.finding(case, box(SHAPE)), "binary", tmp_path)
    assert is_segmentation(file)
    assert not is_segmentation(case.files[0])
    assert not is_segmentation(tmp_path / "nowhere.dcm")
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match="cut off; fetch the file again"):
        read(file, tmp_path / "ct")


@pytest.mark.parametrize("name", ["liver", "partial_overlaps"])
def test_real_segmentations_show_what_highdicom_finds(real_data: Path, name: str) -> None:
    folder = real_data / "dicom" / "dcmqi" / "data" / "segmentations"
    read_mask, _ = read(folder / f"{name}.dcm", folder / "ct-3slice")
    case = as_case(folder / "ct-3slice")
    uids = [header.instance_uid for header in case.headers]
    by_path = dict(zip([header.path for header in case.headers], uids, strict=True))
    pixels = highdicom.seg.segread(folder / f"{name}.dcm").get_pixels_by_source_instance(
        [by_path[file] for file in case.files], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    anything = pixels.any(axis=-1).transpose(2, 1, 0)
    assert anything.any()
    np.testing.assert_array_equal(read_mask.array > 0, anything)
    overlapping = int((pixels.astype(int).sum(axis=-1) > 1).sum())
    assert any("overlap" in note for note in read_mask.notes) == (overlapping > 0)
