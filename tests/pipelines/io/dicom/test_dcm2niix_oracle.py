"""The volumes that we read are those of dcm2niix: same shape, affine and HU on every series that both accept.

Both are brought to the orientation nearest to RAS first, since dcm2niix stores rows from below. Where it differs or
refuses, the test says so by name with the reason.
"""

import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from radseg.pipelines.io.dicom.ct_series import read_series

DATA = Path(__file__).parents[5] / "shared" / "data"
CORNERSTONE = "cornerstone_testImages/testImages"
OBLIQUE = (0.9396926208, 0.3420201433, 0.0, -0.3213938048, 0.8830222216, -0.3420201433)
AFFINE_MM = 0.01
INTERPOLATED_HU = 1.0
"""Both round to whole HU, dcm2niix halves away from zero."""

pytestmark = pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix isn't installed")


def converted(files, folder):
    """What dcm2niix makes of the files, in its corrected form where it writes one."""
    given, made = folder / "given", folder / "made"
    given.mkdir(parents=True)
    made.mkdir()
    for number, file in enumerate(files):
        shutil.copy(file, given / f"{number}.dcm")
    done = subprocess.run(
        ["dcm2niix", "-b", "n", "-z", "n", "-f", "volume", "-o", str(made), str(given)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    images = sorted(made.glob("*.nii"))
    corrected = [image for image in images if "_Tilt" in image.name or "_Eq" in image.name]
    assert images, done.stdout
    return nib.load((corrected or images)[0])


def both(files, folder):
    """Ours and theirs, (voxels, affine) nearest to RAS each."""
    volume = read_series(files)
    ours = nib.as_closest_canonical(nib.Nifti1Image(volume.array, volume.affine_ras))
    theirs = nib.as_closest_canonical(converted(files, folder))
    return [(np.asanyarray(image.dataobj), image.affine) for image in (ours, theirs)]


def series_in(folder, keep=lambda dataset: True):
    return [file for file in sorted(folder.iterdir()) if file.is_file() and keep(pydicom.dcmread(file, force=True))]


def differences(ours, theirs, hu=0.0):
    """What isn't the same within the limits, in words."""
    (mine, my_affine), (other, other_affine) = ours, theirs
    if mine.shape != other.shape:
        return [f"shape {mine.shape} and {other.shape}"]
    apart = {
        "affine, mm": (abs(my_affine - other_affine).max(), AFFINE_MM),
        "voxels, HU": (abs(mine.astype(float) - other).max(), hu),
    }
    return [f"{what}: {found} apart" for what, (found, most) in apart.items() if not found <= most]


SEGMENTATIONS = "dcmqi/data/segmentations"
FAILING = "dicom2nifti_failing/tests/data/failing"
SYNTAXES = ["", "1.2", "1.2.1", "1.2.2", "1.2.5", "1.2.4.57", "1.2.4.70", "1.2.4.90", "1.2.4.91"]
NOT_READ_BY_DCM2NIIX = {
    "1.2.1.99": "deflated",
    "1.2.4.51": "12-bit JPEG",
    "1.2.4.53": "12-bit JPEG",
    "1.2.4.55": "12-bit JPEG",
    "1.2.4.80": "JPEG-LS",
    "1.2.4.81": "JPEG-LS",
}
READ_OTHERWISE = {"1.2.4.50": "8 bits in a file that says 16: dcm2niix's values are hundreds of HU off the original"}


def transferred(syntax):
    folder = DATA / "dicom" / CORNERSTONE
    if not syntax:
        return folder / "CTImage.dcm"
    (file,) = folder.glob(f"CTImage.dcm_*_1.2.840.10008.{syntax}.dcm")
    return file


@pytest.mark.parametrize(
    "folder",
    [
        f"{SEGMENTATIONS}/23x38x3/image",
        f"{SEGMENTATIONS}/24x38x3/image",
        f"{SEGMENTATIONS}/23x38x3/multiframe",
        f"{SEGMENTATIONS}/24x38x3/multiframe",
        "lungmask/tests/testdata",
        f"{FAILING}/gantrytilting/001",
    ],
)
def test_a_real_series_is_the_same(real_data, tmp_path, folder):
    assert differences(*both(series_in(real_data / "dicom" / folder), tmp_path)) == []


def test_a_real_series_with_padding_is_the_same_but_for_the_padding_that_is_air_here(real_data, tmp_path):
    ours, (theirs, affine) = both(series_in(real_data / "dicom" / SEGMENTATIONS / "ct-3slice"), tmp_path)
    assert theirs.min() < -2000
    assert differences(ours, (np.maximum(theirs, -1024), affine)) == []


@pytest.mark.parametrize("name", ["sliceincrement/001", "sliceincrement/002"])
def test_a_real_series_with_a_missing_slice_is_the_same_as_far_as_dcm2niix_goes(real_data, tmp_path, name):
    (ours, affine), (theirs, their_affine) = both(series_in(real_data / "dicom" / FAILING / name), tmp_path)
    assert theirs.shape[2] < ours.shape[2]  # it leaves out the last planes, up to the width of the gap
    ours = ours[:, :, : theirs.shape[2]]
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(affine, their_affine, atol=AFFINE_MM)
    # both reach everywhere, but with a tilt for the outermost rows
    rows = np.s_[:, 3:-3] if name.endswith("002") else np.s_[:]
    assert abs(ours - theirs)[rows].max() <= INTERPOLATED_HU


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_one_slice_in_any_transfer_syntax_that_dcm2niix_reads_has_the_same_hu(real_data, tmp_path, syntax):
    (ours, affine), (theirs, their_affine) = both([transferred(syntax)], tmp_path)
    np.testing.assert_array_equal(ours, theirs)
    # a lone slice is as thick as its SliceThickness here, there as its SpacingBetweenSlices
    np.testing.assert_allclose(affine[:, [0, 1, 3]], their_affine[:, [0, 1, 3]], atol=AFFINE_MM)


@pytest.mark.parametrize("syntax", NOT_READ_BY_DCM2NIIX)
def test_transfer_syntaxes_that_only_we_read(real_data, tmp_path, syntax):
    assert read_series([transferred(syntax)]).array.shape == (512, 512, 1)
    with pytest.raises(AssertionError, match="No valid DICOM images"):
        converted([transferred(syntax)], tmp_path)


@pytest.mark.parametrize("syntax", READ_OTHERWISE)
def test_a_transfer_syntax_that_we_read_closer_to_the_original(real_data, tmp_path, syntax):
    (ours, _), (theirs, _) = both([transferred(syntax)], tmp_path)
    original = nib.as_closest_canonical(converted([transferred("")], tmp_path / "original"))
    original = np.asanyarray(original.dataobj)
    body = original > -1200
    assert abs(ours - original)[body].mean() < 20 < abs(theirs - original)[body].mean()


def made(tmp_path, factory, change=lambda k, dataset: None, **options):
    """A series that dcm2niix corrects, which it does for signed pixels, and its HU."""
    hu = factory.phantom(24, 30, 8)

    def all_changes(k, dataset):
        factory.store(dataset, hu[:, :, k].T, signed=True)
        dataset.RescaleIntercept = 0
        change(k, dataset)

    folder = factory.write_series(tmp_path / "made by us", hu, change=all_changes, **options)
    return sorted(folder.iterdir()), hu


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"orientation": OBLIQUE},
        {"orientation": (1, 0, 0, 0, -1, 0)},
        {"orientation": (-1, 0, 0, 0, 1, 0)},
        {"orientation": (1, 0, 0, 0, 0, -1)},
        {"orientation": (0, 1, 0, 0, 0, -1)},
        {"names": "I{}".format},
        {"names": lambda k: f"I{99 - k}"},
    ],
    ids=["axial", "oblique", "negated columns", "negated rows", "coronal", "sagittal", "names", "reversed names"],
)
@pytest.mark.parametrize("feet_first", [False, True], ids=["HFS", "FFS"])
def test_directions_and_orders_are_the_same(tmp_path, factory, options, feet_first):
    def change(k, dataset):
        dataset.PatientPosition = "FFS" if feet_first else "HFS"
        dataset.InstanceNumber = 99 - k if feet_first else k + 1

    files, _ = made(tmp_path, factory, change, **options)
    assert differences(*both(files, tmp_path)) == []


def _unsigned(k, dataset):
    stored = dataset.pixel_array.astype(int) + 1024
    dataset.PixelRepresentation, dataset.RescaleIntercept = 0, -1024
    dataset.PixelData = stored.astype("<u2").tobytes()


def _monochrome1(k, dataset):
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.RescaleIntercept = -3000  # air at the border: pixels that were not inverted


def _fractions(k, dataset):
    dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -123.25


@pytest.mark.parametrize("change", [_unsigned, _monochrome1, _fractions])
def test_pixels_are_the_same(tmp_path, factory, change):
    files, _ = made(tmp_path, factory, change)
    assert differences(*both(files, tmp_path), hu=1e-3) == []


def _same_rescale_in_all_frames(dataset):
    stored = dataset.pixel_array.astype(int)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        rescale = group.PixelValueTransformationSequence[0]
        stored[number] += int(rescale.RescaleIntercept) + 1024
        rescale.RescaleIntercept = -1024
    dataset.PixelData = stored.astype("<u2").tobytes()


@pytest.mark.parametrize("order", [None, (3, 0, 5, 1, 4, 2)])
def test_an_enhanced_multi_frame_file_is_the_same(tmp_path, factory, order):
    file = factory.write_enhanced(tmp_path / "enhanced", factory.phantom(24, 30, 6), order=order)
    factory.rewrite(file, _same_rescale_in_all_frames)
    assert differences(*both([file], tmp_path)) == []


def test_each_frame_of_an_enhanced_file_has_its_own_rescale_where_dcm2niix_takes_one_for_all(tmp_path, factory):
    hu = factory.phantom(24, 30, 6)
    (ours, affine), (theirs, their_affine) = both([factory.write_enhanced(tmp_path / "enhanced", hu)], tmp_path)
    np.testing.assert_allclose(affine, their_affine, atol=AFFINE_MM)
    np.testing.assert_array_equal(ours, hu[::-1, ::-1])
    per_slice = (theirs - ours).reshape(-1, 6)
    assert (per_slice == per_slice[0]).all()
    np.testing.assert_array_equal(np.diff(per_slice[0]), 1)


def tilted(factory, degrees, depths):
    turned = np.radians(degrees)

    def change(k, dataset):
        orientation = (1, 0, 0, 0, np.cos(turned), -np.sin(turned))
        factory.place(dataset, (-10, -20, 30 + depths[k]), orientation)

    return change


def interior(voxels, filling):
    """Where a sheared volume has neither filling nor the rows beside it."""
    inside = voxels != filling
    return inside & np.roll(inside, 1, axis=1) & np.roll(inside, -1, axis=1)


def test_a_tilted_series_is_the_same_but_for_the_outermost_rows(tmp_path, factory):
    files, _ = made(tmp_path, factory, tilted(factory, 12.0, 2.5 * np.arange(8)))
    (ours, affine), (theirs, their_affine) = both(files, tmp_path)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(affine, their_affine, atol=AFFINE_MM)
    # dcm2niix fills with the darkest voxel, and lets the last row reach a whole pixel further, not half of one
    both_reach = interior(ours, -1024) & interior(theirs, theirs.min())
    assert both_reach.mean() > 0.6
    assert abs(ours - theirs)[both_reach].max() <= INTERPOLATED_HU


@pytest.mark.parametrize("degrees", [0.0, 12.0])
def test_an_uneven_series_is_the_same_as_far_as_dcm2niix_goes(tmp_path, factory, degrees):
    files, _ = made(tmp_path, factory, tilted(factory, degrees, np.array([0, 2, 4, 6, 8, 11, 14, 17])))
    (ours, affine), (theirs, their_affine) = both(files, tmp_path)
    np.testing.assert_allclose(affine, their_affine, atol=AFFINE_MM)
    ours = ours[:, :, : theirs.shape[2]]  # dcm2niix leaves out the last plane
    assert ours.shape == theirs.shape
    both_reach = interior(ours, -1024) & interior(theirs, theirs.min()) if degrees else np.ones(ours.shape, bool)
    assert abs(ours - theirs)[both_reach].max() <= INTERPOLATED_HU


def test_a_tilt_the_other_way_is_placed_right_here_where_dcm2niix_moves_it(tmp_path, factory):
    """dcm2niix 1.0.20220720 adds its rows on the side of the origin but leaves the origin: the image moves by them.

    That ours is where it belongs is tested against the phantom's own position, see test_straighten.py.
    """
    files, _ = made(tmp_path, factory, tilted(factory, -12.0, 2.5 * np.arange(8)))
    (ours, affine), (theirs, their_affine) = both(files, tmp_path)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(affine[:3, :3], their_affine[:3, :3], atol=AFFINE_MM)
    assert np.linalg.norm(affine[:3, 3] - their_affine[:3, 3]) > 1
