"""DICOM files of one series to HU in world space."""

import copy
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass

from radseg.pipelines.cases import discover
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_volume
from radseg.pipelines.io.dicom import ct_series, ct_stack
from radseg.pipelines.io.dicom.ct_series import read_series, select_slices
from radseg.pipelines.io.dicom.header import read_header

OBLIQUE = (0.9396926208, 0.3420201433, 0.0, -0.3213938048, 0.8830222216, -0.3420201433)
NEGATED_COLUMNS = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def blob(columns=9, rows=8, slices=7):
    """A dense box that is off the centre along every axis."""
    hu = np.full((columns, rows, slices), -1000, np.int16)
    hu[1:4, 5:7, 2:3] = 400
    return hu


def world_centroid_lps(hu, orientation, origin, step, spacing):
    i, j, k = center_of_mass(hu > 0)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    return np.array(origin) + i * spacing[1] * row + j * spacing[0] * column + k * step * np.cross(row, column)


@pytest.mark.parametrize("orientation", [(1.0, 0, 0, 0, 1, 0), NEGATED_COLUMNS, OBLIQUE, (0, 1.0, 0, 0, 0, -1)])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_structure_stays_at_its_world_position(tmp_path, factory, orientation, backwards):
    hu, origin = blob(), (10.0, -20.0, 30.0)
    names = (lambda k: f"IM{99 - k}") if backwards else "IM{}".format
    factory.write_series(tmp_path, hu, orientation=orientation, origin=origin, step_mm=2.5, names=names)
    volume = load_volume(tmp_path)
    found = (volume.affine_ras @ [*center_of_mass(volume.array > 0), 1])[:3]
    expected = world_centroid_lps(hu, orientation, origin, 2.5, factory.SPACING_MM) * [-1, -1, 1]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(volume.array, hu)


def test_a_single_slice_keeps_its_place(tmp_path, factory):
    hu = blob(slices=3)[:, :, 2:]
    factory.write_series(tmp_path, hu, orientation=OBLIQUE)
    volume = load_volume(tmp_path)
    found = (volume.affine_ras @ [*center_of_mass(volume.array > 0), 1])[:3]
    expected = world_centroid_lps(hu, OBLIQUE, (10.0, -20.0, 30.0), 2.5, factory.SPACING_MM) * [-1, -1, 1]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert volume.spacing_mm == pytest.approx((0.6, 0.8, 2.5))


def test_axes_are_column_row_slice_and_whole_hu_are_int16(tmp_path, factory):
    hu = factory.phantom(7, 5, 6)
    volume = load_volume(factory.write_series(tmp_path, hu))
    assert volume.array.shape == (7, 5, 6)
    assert volume.array.dtype == np.int16
    assert volume.units == "HU"
    np.testing.assert_array_equal(volume.array, hu)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=6, max_size=6), st.integers(-1100, -1000))
def test_every_slice_has_its_own_rescale(tmp_path_factory, factory, slopes, intercept):
    def change(k, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = slopes[k], intercept

    folder = factory.write_series(tmp_path_factory.mktemp("series"), change=change)
    expected = (factory.phantom().astype(float) + 1024) * slopes + intercept
    volume = load_volume(folder)
    np.testing.assert_allclose(volume.array, expected)
    assert volume.array.dtype == (np.float32 if 0.5 in slopes else np.int16)


def test_padding_becomes_air(tmp_path, factory):
    def change(k, dataset):
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 60000, 60002
        stored = dataset.pixel_array.copy()
        stored[0, 0], stored[0, 1], stored[0, 2] = 60000, 60002, 60003
        dataset.PixelData = stored.tobytes()

    volume = load_volume(factory.write_series(tmp_path, change=change))
    assert (volume.array[:2, 0] == -1024).all()
    assert (volume.array[2, 0] == 60003 - 1024).all()
    assert volume.array.dtype == np.float32  # as int16 it would be negative
    assert "12 padding voxels set to -1024 HU" in volume.notes


def test_negative_padding_in_signed_pixels_becomes_air(tmp_path, factory):
    def change(k, dataset):
        stored = factory.phantom()[:, :, k].T.copy()
        stored[0, 0] = -2000
        factory.store(dataset, stored, signed=True)
        dataset.RescaleIntercept, dataset.PixelPaddingValue = 0, -2000

    volume = load_volume(factory.write_series(tmp_path, change=change))
    assert (volume.array[0, 0] == -1024).all()
    np.testing.assert_array_equal(volume.array[1:], factory.phantom()[1:])


def test_monochrome1_means_display_only_so_hu_stay(tmp_path, factory):
    def change(k, dataset):
        dataset.PhotometricInterpretation = "MONOCHROME1"

    volume = load_volume(factory.write_series(tmp_path, blob(), change=change))
    np.testing.assert_array_equal(volume.array, blob())


@pytest.mark.parametrize("signed", [False, True])
def test_monochrome1_of_a_writer_that_inverted_the_pixels_is_inverted_back(tmp_path, factory, signed):
    def change(k, dataset):
        stored = blob()[:, :, k].T.astype(np.int32) + (0 if signed else 1024)
        factory.store(dataset, -1 - stored if signed else 4095 - stored, bits=12, signed=signed)
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.RescaleIntercept = 0 if signed else -1024

    volume = load_volume(factory.write_series(tmp_path, blob(), change=change))
    np.testing.assert_array_equal(volume.array, blob())
    assert any("inverted back" in note for note in volume.notes)


def test_slices_twice_with_the_same_pixels_are_used_once(tmp_path, factory):
    factory.write_series(tmp_path / "a")
    factory.write_series(tmp_path / "b", skip=(0, 1, 2))
    volume = load_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, factory.phantom())
    assert any("3 slices were there twice" in note for note in volume.notes)


def test_different_pixels_at_one_position_are_refused(tmp_path, factory):
    factory.write_series(tmp_path / "a")
    factory.write_series(tmp_path / "b", factory.phantom() + 1)
    with pytest.raises(InputError, match=r"slices with different pixels at one position \(10.0, -20.0, 30.0\)"):
        load_volume(tmp_path)


def _no_pixels(k, dataset):
    if k == 3:
        del dataset.PixelData


def _mixed(k, dataset):
    if k == 3:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def _larger(k, dataset):
    if k == 3:
        dataset.Rows, dataset.Columns = 7, 5


def _mr(k, dataset):
    dataset.Modality, dataset.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"


def _unknown_modality(k, dataset):
    del dataset.Modality
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.3"
    dataset.RescaleIntercept = 0


def _of_two_studies(k, dataset):
    dataset.StudyInstanceUID = f"1.2.{k // 3}"


def _no_intercept(k, dataset):
    if k > 3:
        del dataset.RescaleIntercept


def _inverted(k, dataset):
    dataset.PhotometricInterpretation = "MONOCHROME1" if k == 3 else "MONOCHROME2"


def _several_frames_unsaid(k, dataset):
    dataset.PixelData = dataset.PixelData * (1 + (k == 3))


def _no_position(k, dataset):
    del dataset.ImagePositionPatient


def _effective_atomic_number(k, dataset):
    dataset.RescaleType = "Z_EFF"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_pixels, "no PixelData in IM0003.dcm; fetch the images again"),
        (_mixed, "mixed orientations (1 of 6 slices"),
        (_larger, "slices of different size (5×7, 7×5)"),
        (_mr, "Modality MR, expected CT"),
        (_unknown_modality, "no Modality and nothing that shows it is CT"),
        (_of_two_studies, "slices of 2 studies with one SeriesInstanceUID; give each study alone"),
        (_no_intercept, "no usable RescaleIntercept in IM0004.dcm, unlike in other slices; export the series again"),
        (_inverted, "slices in MONOCHROME1 and MONOCHROME2; export the series again"),
        (_several_frames_unsaid, "PixelData of 140 bytes where 70 are needed in IM0003.dcm"),
        (_no_position, "no ImagePositionPatient"),
        (_effective_atomic_number, "RescaleType Z_EFF, expected HU"),
    ],
)
def test_a_series_that_is_no_ct_volume_is_refused_in_one_line(tmp_path, factory, change, said):
    factory.write_series(tmp_path, change=change)
    with pytest.raises(InputError) as refused:
        load_volume(tmp_path)
    assert said in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_slice_is_made_up_from_its_neighbours_and_named_in_mm(tmp_path, factory):
    hu = factory.phantom()
    volume = load_volume(factory.write_series(tmp_path, hu, skip=(3,)))
    assert volume.array.shape == hu.shape
    np.testing.assert_allclose(volume.array, hu, atol=1)  # the phantom rises evenly from slice to slice
    np.testing.assert_array_equal(volume.array[:, :, [0, 1, 2, 4, 5]], hu[:, :, [0, 1, 2, 4, 5]])
    assert volume.notes == ("1 missing slice near z = 37.5 mm made up from the neighbours",)


def test_a_gap_too_wide_to_be_filled_is_refused_in_mm(tmp_path, factory):
    factory.write_series(tmp_path, factory.phantom(slices=9), skip=(3, 4, 5))
    with pytest.raises(InputError, match=r"missing slice near z = 37\.5 mm \(step of 10 mm where 2\.5 mm is usual"):
        load_volume(tmp_path)


@pytest.mark.parametrize("orientation", [(1.0, 0, 0, 0, 1, 0), (-1.0, 0, 0, 0, 1, 0), (-1.0, 0, 0, 0, -1, 0), OBLIQUE])
@pytest.mark.parametrize("feet_first", [False, True])
def test_head_first_or_feet_first_a_structure_stays_at_its_world_position(tmp_path, factory, orientation, feet_first):
    hu, origin = blob(), (10.0, -20.0, 30.0)

    def change(k, dataset):
        dataset.PatientPosition = "FFS" if feet_first else "HFS"
        dataset.InstanceNumber = hu.shape[2] - k if feet_first else k + 1

    factory.write_series(tmp_path, hu, orientation=orientation, origin=origin, change=change)
    volume = load_volume(tmp_path)
    found = (volume.affine_ras @ [*center_of_mass(volume.array > 0), 1])[:3]
    expected = world_centroid_lps(hu, orientation, origin, 2.5, factory.SPACING_MM) * [-1, -1, 1]
    np.testing.assert_allclose(found, expected, atol=1e-4)  # what counts is position and orientation, not the order


def test_a_multi_frame_file_with_several_stacks_is_refused_by_name(tmp_path, factory):
    file = factory.write_enhanced(tmp_path / "enhanced", factory.phantom())

    def turn(dataset):
        orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            group.PlaneOrientationSequence = copy.deepcopy(orientation)
            if number > 3:
                group.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    factory.rewrite(file, turn)
    with pytest.raises(InputError, match=r"multi-frame file with 2 stacks .* \(4 and 2 frames\); split it"):
        load_volume(file)


def test_a_multi_frame_file_with_two_scans_of_one_place_is_refused_by_name(tmp_path, factory):
    file = factory.write_enhanced(tmp_path / "enhanced", factory.phantom(slices=3), order=(0, 1, 2, 0, 1, 2))

    def darken(dataset):
        stored = dataset.pixel_array.copy()
        stored[4] -= 1
        dataset.PixelData = stored.tobytes()

    np.testing.assert_array_equal(load_volume(file).array, factory.phantom(slices=3))
    factory.rewrite(file, darken)
    with pytest.raises(InputError, match=r"2 frames of a multi-frame file with different pixels at one position"):
        load_volume(file)


def test_an_unmarked_scout_beside_whole_slices_is_set_aside_but_not_a_slice_with_a_wrong_tag(tmp_path, factory):
    factory.write_series(tmp_path)
    scout = factory.ct_slice(np.zeros((20, 30)))
    factory.place(scout, (0, 0, 0), (0, 1, 0, 0, 0, -1))
    scout.save_as(tmp_path / "scout.dcm", enforce_file_format=True)
    volume = read_series(sorted(tmp_path.iterdir()))
    np.testing.assert_array_equal(volume.array, factory.phantom())
    (note,) = volume.notes
    assert note.startswith("1 files set aside: of another size, PixelSpacing or orientation")
    (tmp_path / "IM0003.dcm").unlink()
    with pytest.raises(InputError, match="slices of different size"):
        load_volume(tmp_path)


def test_a_single_slice_is_refused_where_a_volume_is_needed(tmp_path, factory):
    factory.write_series(tmp_path, factory.phantom(slices=1))
    with pytest.raises(InputError, match="a single slice, at least 16 are needed"):
        load_volume(tmp_path, min_slices=16)


def test_cut_off_pixels_are_refused(tmp_path, factory):
    factory.write_series(tmp_path)
    file = tmp_path / "IM0002.dcm"
    file.write_bytes(file.read_bytes()[:-11])
    with pytest.raises(InputError, match=r"PixelData cut off in IM0002\.dcm"):
        load_volume(tmp_path)


@pytest.mark.parametrize("tag", ["Modality", "SOPClassUID"])
def test_a_ct_without_modality_or_class_is_still_a_ct(tmp_path, factory, tag):
    def change(k, dataset):
        setattr(dataset, tag, "")

    np.testing.assert_array_equal(load_volume(factory.write_series(tmp_path, change=change)).array, factory.phantom())


@pytest.mark.parametrize("pixels", [True, False], ids=["pixels", "no pixels"])
@pytest.mark.parametrize(
    "syntax",
    [
        pydicom.uid.ImplicitVRLittleEndian,
        pydicom.uid.ExplicitVRBigEndian,
        pydicom.uid.DeflatedExplicitVRLittleEndian,
        pydicom.uid.RLELossless,
        pydicom.uid.JPEG2000Lossless,
        pydicom.uid.JPEGLSLossless,
    ],
    ids=lambda uid: uid.keyword,
)
def test_pixels_or_their_absence_are_seen_in_every_transfer_syntax(tmp_path, factory, syntax, pixels):
    hu = factory.phantom(40, 36, 2)
    factory.write_series(tmp_path, hu)
    for file in sorted(tmp_path.iterdir()):
        dataset = pydicom.dcmread(file)
        if syntax.is_encapsulated:
            dataset.compress(syntax)
        elif not syntax.is_little_endian:
            dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        if not pixels:
            del dataset.PixelData
        pydicom.dcmwrite(file, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    if pixels:
        np.testing.assert_array_equal(load_volume(tmp_path).array, hu)
    else:
        with pytest.raises(InputError, match="no PixelData"):
            load_volume(tmp_path)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize(
    "syntax",
    [pydicom.uid.RLELossless, pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEGLSLossless],
    ids=lambda uid: uid.keyword,
)
def test_signed_and_short_pixels_are_decoded(tmp_path, factory, syntax, bits, signed):
    hu = factory.phantom(40, 36, 2)

    def change(k, dataset):
        factory.store(dataset, hu[:, :, k].T + (0 if signed else 1024), bits=bits, signed=signed)
        dataset.RescaleIntercept = 0 if signed else -1024
        dataset.compress(syntax)

    np.testing.assert_array_equal(load_volume(factory.write_series(tmp_path, hu, change=change)).array, hu)


@pytest.mark.parametrize("order", [None, (3, 0, 5, 1, 4, 2)])
def test_an_enhanced_multi_frame_file_is_one_volume(tmp_path, factory, order):
    hu = factory.phantom()
    file = factory.write_enhanced(tmp_path / "enhanced", hu, orientation=OBLIQUE, order=order)
    volume = load_volume(file)
    series = load_volume(factory.write_series(tmp_path / "series", hu, orientation=OBLIQUE))
    np.testing.assert_array_equal(volume.array, hu)
    np.testing.assert_allclose(volume.affine_ras, series.affine_ras, atol=1e-5)


def test_a_damaged_frame_names_file_and_remedy(tmp_path, factory):
    factory.write_series(tmp_path, factory.phantom(40, 36, 6))

    def damage(dataset):
        dataset.compress(pydicom.uid.JPEG2000Lossless)
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 this is no image"])

    factory.rewrite(tmp_path / "IM0004.dcm", damage)
    with pytest.raises(InputError, match=r"IM0004\.dcm: pixels can't be decoded \(JPEG 2000.*decompress it") as refused:
        load_volume(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("syntax", [None, pydicom.uid.RLELossless, pydicom.uid.JPEG2000Lossless])
def test_files_decoded_at_once_give_the_voxels_of_files_decoded_one_by_one(tmp_path, factory, monkeypatch, syntax):
    def change(k, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = (2, -1024) if k % 3 else (1, -1000 - k)
        dataset.PixelPaddingValue = 800 + 360 * k
        if syntax is not None:
            dataset.compress(syntax)

    folder = factory.write_series(tmp_path, factory.phantom(40, 36, 21) // 4, change=change)
    files = sorted(folder.iterdir())
    monkeypatch.setattr(ct_stack, "_MOST_THREADS", 1)
    one_by_one = read_series(files)
    monkeypatch.setattr(ct_stack, "_MOST_THREADS", 4)
    monkeypatch.setattr(ct_stack.os, "cpu_count", lambda: 4)
    at_once = read_series(files)
    assert (at_once.array == -1024).any()
    np.testing.assert_array_equal(at_once.array, one_by_one.array)
    assert at_once.array.dtype == one_by_one.array.dtype == np.int16
    assert at_once.notes == one_by_one.notes


def test_of_several_damaged_files_the_first_in_the_stack_is_named(tmp_path, factory, monkeypatch):
    def damage(dataset):
        dataset.compress(pydicom.uid.JPEG2000Lossless)
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 this is no image"])

    monkeypatch.setattr(ct_stack.os, "cpu_count", lambda: 4)
    factory.write_series(tmp_path, factory.phantom(40, 36, 12))
    for number in (7, 4, 5):
        factory.rewrite(tmp_path / f"IM{number:04d}.dcm", damage)
    for _ in range(3):
        with pytest.raises(InputError, match=r"IM0004\.dcm: pixels can't be decoded"):
            load_volume(tmp_path)


def test_warnings_are_as_before_after_reading_in_several_threads(tmp_path, factory):
    before = list(warnings.filters), pydicom.config.settings.reading_validation_mode
    folders = [factory.write_series(tmp_path / str(number), uid=f"{factory.SERIES}.{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for volume in pool.map(load_volume, folders * 3):
            np.testing.assert_array_equal(volume.array, factory.phantom())
    assert (list(warnings.filters), pydicom.config.settings.reading_validation_mode) == before


def test_headers_that_discovery_read_are_not_read_again_unless_the_file_has_changed(tmp_path, factory, monkeypatch):
    (case,) = discover(factory.write_series(tmp_path))
    reads = []
    monkeypatch.setattr(ct_series, "read_header", lambda path: reads.append(path.name) or read_header(path))
    np.testing.assert_array_equal(load_volume(case).array, factory.phantom())
    assert reads == []
    factory.rewrite(tmp_path / "IM0002.dcm", lambda dataset: setattr(dataset, "SliceThickness", "2.50"))
    os.utime(tmp_path / "IM0002.dcm", ns=(0, 0))
    np.testing.assert_array_equal(load_volume(case).array, factory.phantom())
    assert reads == ["IM0002.dcm"]
    (tmp_path / "IM0003.dcm").write_bytes(b"no longer an image")
    with pytest.raises(InputError, match=r"IM0003.dcm: not readable as DICOM"):
        load_volume(case)
    (tmp_path / "IM0003.dcm").unlink()
    with pytest.raises(
        InputError, match=r"IM0003.dcm: can't be read \(No such file or directory\); fetch the file again"
    ):
        load_volume(case)


def test_a_series_that_becomes_another_while_it_is_read_is_refused(tmp_path, factory, monkeypatch):
    (case,) = discover(factory.write_series(tmp_path))
    factory.rewrite(tmp_path / "IM0002.dcm", lambda dataset: setattr(dataset, "SeriesInstanceUID", "1.2.3"))
    with pytest.raises(InputError, match="files of several series, or changed since they were found; run again"):
        load_volume(case)


def test_a_file_that_is_rewritten_while_the_pixels_are_read_is_noticed(tmp_path, factory, monkeypatch):
    (case,) = discover(factory.write_series(tmp_path))

    def decode(*arguments):
        (tmp_path / "IM0004.dcm").write_bytes((tmp_path / "IM0004.dcm").read_bytes() + b"\0\0")
        return ct_stack.decode_stack(*arguments)

    monkeypatch.setattr(ct_series, "decode_stack", decode)
    with pytest.raises(InputError, match=r"IM0004.dcm: changed while it was read; run again"):
        load_volume(case)


def test_a_file_cut_off_in_its_header_refuses_the_series_by_name(tmp_path, factory):
    file = factory.write_series(tmp_path) / "IM0003.dcm"
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.index(b"1.2.826.0.1.3680043.8.498.1\0", 400) + 60])
    found = list(discover(tmp_path))
    assert [type(one).__name__ for one in found] == ["Refusal"]
    assert "IM0003.dcm" in found[0].reason


def test_scouts_and_captures_among_the_slices_are_set_aside_with_their_reason(tmp_path, factory):
    factory.write_series(tmp_path)
    for name, words, sop_class in (
        ("scout.dcm", ["ORIGINAL", "PRIMARY", "LOCALIZER"], None),
        ("capture.dcm", ["DERIVED", "SECONDARY"], "1.2.840.10008.5.1.4.1.1.7"),
    ):
        dataset = factory.ct_slice(np.zeros((20, 30)))
        factory.place(dataset, (0, 0, 0), (0, 1, 0, 0, 0, -1))
        dataset.ImageType = words
        dataset.SOPClassUID = sop_class or dataset.SOPClassUID
        dataset.save_as(tmp_path / name, enforce_file_format=True)
    placeless = factory.ct_slice(np.zeros((7, 5)))
    placeless.SOPClassUID = ""
    placeless.save_as(tmp_path / "placeless.dcm", enforce_file_format=True)

    selection = select_slices([read_header(file) for file in sorted(tmp_path.iterdir())])
    reasons = {paths[0].name: reason for paths, reason in selection.set_aside}
    assert reasons["scout.dcm"] == "localizer (scout), not a slice"
    assert reasons["capture.dcm"] == "secondary capture, not a slice"
    assert "no ImagePositionPatient" in reasons["placeless.dcm"]
    assert len(selection.files) == 6
    np.testing.assert_array_equal(read_series(sorted(tmp_path.iterdir())).array, factory.phantom())
