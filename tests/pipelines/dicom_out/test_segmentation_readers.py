"""What other programs find in the segmentations: highdicom, dcmqi, dciodvfy; and the segmentations of real series."""

import subprocess
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import seg_sources as seg
import SimpleITK
from highdicom.seg import SegmentDescription
from pydicom.sr.codedict import codes

from radseg.pipelines.cases import Case, discover
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.segmentation import segmentation
from radseg.pipelines.dicom_out.source import read_source
from radseg.pipelines.io.dicom.ct_series import read_series
from radseg.pipelines.io.volume import LPS_TO_RAS

SHAPE = (11, 6, 5)


def save(found: Finding, kind: str, folder: Path) -> Path:
    file = folder / f"{kind}.dcm"
    segmentation(found, kind).save_as(file, enforce_file_format=True)
    return file


@pytest.mark.parametrize("how", [*seg.STRAIGHT, *seg.BENT])
@pytest.mark.parametrize("kind", seg.KINDS)
def test_highdicom_reads_the_same_pixels_of_each_source_frame(how: str, kind: str, tmp_path: Path) -> None:
    found = seg.random_finding(seg.write(tmp_path / "ct", how, SHAPE), 7)
    read = highdicom.seg.segread(save(found, kind, tmp_path))
    uids = [header.SOPInstanceUID for header in found.source.headers]
    options = {"assert_missing_frames_are_empty": True, "rescale_fractional": False}
    if kind == "labelmap":
        options["combine_segments"] = True
    if how == "enhanced":
        frames = [frame.number + 1 for frame in found.source.frames]
        pixels = read.get_pixels_by_source_frame(uids[0], frames, **options)
        order = [(uids[0], number) for number in frames]
    else:
        pixels = read.get_pixels_by_source_instance(uids, **options)
        order = [(uid, 1) for uid in uids]
    for segment, volume in seg.volumes_of(found, kind).items():
        wanted = seg.truth(found, volume)
        shown = pixels if segment == 0 else pixels[..., segment - 1]
        np.testing.assert_array_equal(shown, np.stack([wanted[at] for at in order]))


@pytest.mark.parametrize("how", seg.STRAIGHT)
def test_highdicom_finds_the_mask_s_volume_where_the_image_s_is(how: str, tmp_path: Path) -> None:
    found = seg.random_finding(seg.write(tmp_path / "ct", how, SHAPE), 2)
    volume = highdicom.seg.segread(save(found, "binary", tmp_path)).get_volume(combine_segments=True)
    in_voxels = np.linalg.inv(found.affine_ras) @ LPS_TO_RAS @ volume.affine
    labelled = np.argwhere(volume.array)
    assert len(labelled) == np.count_nonzero(found.mask)
    at = np.rint(labelled @ in_voxels[:3, :3].T + in_voxels[:3, 3]).astype(int)
    np.testing.assert_array_equal(found.mask[tuple(at.T)], volume.array[tuple(labelled.T)])


@pytest.mark.parametrize("how", seg.STRAIGHT)
@pytest.mark.parametrize("kind", seg.KINDS)
def test_dcmqi_finds_every_voxel_where_it_is_in_the_patient(how: str, kind: str, tmp_path: Path) -> None:
    found = seg.random_finding(seg.write(tmp_path / "ct", how, SHAPE), 5)
    for segment, image in dcmqi(save(found, kind, tmp_path), tmp_path / "itk").items():
        volume = seg.volumes_of(found, kind)[0 if kind == "labelmap" else segment]
        if kind != "fractional":  # dcmqi gives a segment its number
            volume = np.where(volume > 0, found.mask, 0)
        assert in_patient(image) == voxels_of(volume, found.affine_ras)


@pytest.mark.parametrize("kind", ["binary", "fractional"])
@pytest.mark.parametrize("how", [*seg.STRAIGHT, *seg.BENT])
def test_the_validator_finds_nothing_that_it_does_not_find_in_highdicom_s_own(
    how: str, kind: str, tmp_path: Path
) -> None:
    case = seg.write(tmp_path / "ct", how, SHAPE)
    found = seg.random_finding(case, 4)
    plain = tmp_path / "plain.dcm"
    minimal(case, kind, SHAPE).save_as(plain)
    ours, theirs = seg.factory.dciodvfy(save(found, kind, tmp_path)), seg.factory.dciodvfy(plain)
    assert set(ours) <= set(theirs)


@pytest.mark.parametrize("kind", ["binary", "fractional"])
def test_the_validator_finds_nothing_in_an_empty_one_or_a_radiograph_s(kind: str, tmp_path: Path) -> None:
    empty = seg.finding(seg.write(tmp_path, "regular", SHAPE), np.zeros(SHAPE), np.zeros((2, *SHAPE), np.uint8))
    assert seg.factory.dciodvfy(save(empty, kind, tmp_path)) == []
    file = seg.factory.dicom.write_radiograph(tmp_path / "dx.dcm", np.arange(66).reshape(6, 11), SeriesNumber=2)
    ones = np.ones((11, 6, 1), np.uint8)
    case = seg.factory.only_case(file, "DX")
    assert seg.factory.dciodvfy(save(seg.finding(case, ones, np.stack([ones, ones])), kind, tmp_path)) == []


@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_every_real_series_gets_its_mask_back(real_data: Path, modality: str, tmp_path: Path) -> None:
    inputs = real_data / "dicom" if modality == "CT" else real_data / "pelvis" / "infant_xray"
    cases = [one for one in discover(inputs, modality=modality, accepts=["dicom"]) if isinstance(one, Case)]
    assert len(cases) >= 6
    for case in cases:
        source = read_source(case)
        if modality == "CT":
            volume = read_series(case.files, headers=case.headers)
            shape, affine = volume.array.shape, volume.affine_ras
        else:
            shape, affine = (source.headers[0].Columns, source.headers[0].Rows, 1), np.eye(4)
        rng = np.random.default_rng(0)
        mask = rng.integers(0, 3, shape).astype(np.uint8)
        probability = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
        found = Finding(mask, affine, source, seg.factory.SEGMENTS, seg.factory.PROVENANCE, probability)
        for kind in seg.KINDS:
            file = save(found, kind, tmp_path)
            if kind != "labelmap":
                assert seg.factory.dciodvfy(file) == []
            assert highdicom.seg.segread(file).number_of_frames > 0
            read = seg.read_by_hand(file)
            for segment, wanted in seg.volumes_of(found, kind).items():
                assert seg.shown_in(read[segment], seg.truth(found, wanted)), case.source.name


def test_a_whole_chest_comes_back_from_dcmqi_voxel_for_voxel(real_data: Path, tmp_path: Path) -> None:
    nib = pytest.importorskip("nibabel")
    structures = np.asarray(nib.load(real_data / "chest_ct" / "structures.nii.gz").dataobj)[::2, ::2]
    mask = np.asfortranarray(((structures >= 26) & (structures <= 50)).astype(np.uint8))
    found = seg.finding(seg.write(tmp_path / "ct", "oblique", mask.shape), mask)
    file = save(found, "labelmap", tmp_path)
    [image] = dcmqi(file, tmp_path / "itk").values()
    array = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    to_voxel = np.linalg.inv(found.affine_ras) @ LPS_TO_RAS
    labelled = np.argwhere(array)
    at = np.rint(mm(image, labelled) @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    assert len(labelled) == np.count_nonzero(mask) > 90_000
    assert (mask[tuple(at.T)] == 1).all()
    assert file.stat().st_size < 1_000_000


def minimal(case: Case, kind: str, shape: tuple[int, int, int]) -> highdicom.seg.Segmentation:
    """What highdicom's constructor makes of the images with what it demands and no more."""
    images = [pydicom.dcmread(file) for file in case.files]
    algorithm = highdicom.AlgorithmIdentificationSequence("a", codes.cid7162.ArtificialIntelligence, "1")
    tissue = SegmentDescription(1, "x", codes.cid7150.Tissue, codes.cid7166.BoneTissue, "AUTOMATIC", algorithm)
    return highdicom.seg.Segmentation(
        images, np.ones((shape[2], shape[1], shape[0]), np.uint8), kind.upper(), [tissue],
        highdicom.UID(), 1, highdicom.UID(), 1, "m", "m", "1", "1",
    )  # fmt: skip


def dcmqi(file: Path, folder: Path) -> dict[int, SimpleITK.Image]:
    """Images that dcmqi makes of a segmentation, by the number in their names."""
    program = Path(sys.executable).parent / "segimage2itkimage"
    if not program.exists():
        pytest.skip("dcmqi is not installed")
    folder.mkdir()
    command = [program, "--inputDICOM", file, "--outputDirectory", folder, "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    return {int(image.name.split(".")[0]): SimpleITK.ReadImage(image) for image in folder.glob("*.nrrd")}


def mm(image: SimpleITK.Image, voxels: np.ndarray) -> np.ndarray:
    """LPS of voxels (n, 3)."""
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return voxels @ axes.T + np.array(image.GetOrigin())


def in_patient(image: SimpleITK.Image) -> dict[tuple[float, ...], int]:
    """Values that aren't 0 by where they are in LPS, to a tenth of a mm."""
    array = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    at = np.argwhere(array)
    return {
        tuple(np.round(place, 1) + 0.0): int(value)
        for place, value in zip(mm(image, at), array[array > 0], strict=True)
    }


def voxels_of(volume: np.ndarray, affine_ras: np.ndarray) -> dict[tuple[float, ...], int]:
    """The same of a volume."""
    at = np.argwhere(volume)
    places = np.c_[at, np.ones(len(at))] @ (LPS_TO_RAS @ affine_ras)[:3].T
    return {
        tuple(np.round(place, 1) + 0.0): int(value) for place, value in zip(places, volume[volume > 0], strict=True)
    }
