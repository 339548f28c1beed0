"""A mask comes back on the very images that it was made of."""

import dicom_factory as factory
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radseg.pipelines.cases import Case, discover
from radseg.pipelines.dicom_out.source import read_source, values_on_frames
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_volume

OBLIQUE = (0.9396926208, 0.3420201433, 0.0, -0.3213938048, 0.8830222216, -0.3420201433)


def found(folder, modality="CT"):
    """Case, volume and source of the one image in a folder."""
    (case,) = discover(folder, modality=modality)
    assert isinstance(case, Case)
    return case, load_volume(case, modality=modality), read_source(case)


def places_ras_mm(affine, shape):
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def places_on_frame_mm(plane):
    """RAS of a frame's pixels, (row, column, 3)."""
    j, i = np.indices((plane.rows, plane.columns))
    between_rows, between_columns = plane.pixel_spacing_mm
    along = between_columns * i[..., None] * np.array(plane.row_direction)
    down = between_rows * j[..., None] * np.array(plane.column_direction)
    return (np.array(plane.position_mm) + along + down) * [-1, -1, 1]


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def sphere_dice(folder, radius_mm=14.0):
    """Dice of a sphere drawn on the volume's grid, brought back, with the sphere on the frames themselves."""
    _, volume, source = found(folder)
    frames = [places_on_frame_mm(frame.plane) for frame in source.frames]
    middle = np.mean([places.mean(axis=(0, 1)) for places in frames], axis=0)
    drawn = np.linalg.norm(places_ras_mm(volume.affine_ras, volume.array.shape) - middle, axis=-1) < radius_mm
    back = list(values_on_frames(drawn.astype(np.uint8), volume.affine_ras, source.frames))
    there = [np.linalg.norm(places - middle, axis=-1) < radius_mm for places in frames]
    assert [plane.shape for plane in back] == [plane.shape for plane in there]
    return dice(np.stack(back) > 0, np.stack(there))


def written(folder, degrees=0.0, side=0.0, depths=None, slices=24, rows=56, columns=64):
    """A series tilted by `degrees` to a side (0 along the rows, 90 along the columns)."""
    depths = 2.0 * np.arange(slices) if depths is None else np.asarray(depths, float)
    slope = np.tan(np.radians(degrees)) * np.array([np.cos(np.radians(side)), np.sin(np.radians(side)), 0])
    slope[2] = 1

    def change(k, dataset):
        factory.place(dataset, np.array([5.0, -7.0, 11.0]) + depths[k] * slope)

    return factory.write_series(folder, factory.phantom(columns, rows, len(depths)) // 100, change=change)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(-28, 28), st.sampled_from([0.0, 90.0, 35.0, 200.0]))
def test_a_sphere_in_a_tilted_series_comes_back_on_the_original_frames(tmp_path_factory, degrees, side):
    assert sphere_dice(written(tmp_path_factory.mktemp("tilted"), degrees, side)) >= 0.97


@pytest.mark.parametrize(
    "depths",
    [
        [2.0 * k for k in range(24) if k not in (5, 12)],
        [*np.arange(0, 24, 2.0), *np.arange(24, 54, 3.0)],
        [*np.arange(0, 20, 1.0), *np.arange(20, 50, 2.5)],
    ],
    ids=["missing slices", "2 and 3 mm", "1 and 2.5 mm"],
)
@pytest.mark.parametrize("degrees", [0.0, 17.0])
def test_a_sphere_in_an_uneven_series_comes_back_on_the_original_frames(tmp_path, depths, degrees):
    assert sphere_dice(written(tmp_path, degrees, 90.0, depths)) >= 0.97


@pytest.mark.parametrize("orientation", [factory.AXIAL, OBLIQUE, (1.0, 0, 0, 0, -1.0, 0), (1.0, 0, 0, 0, 0, -1.0)])
@pytest.mark.parametrize("enhanced", [False, True])
def test_a_regular_series_gives_back_its_very_slices(tmp_path, orientation, enhanced):
    hu = factory.phantom()
    if enhanced:
        factory.write_enhanced(tmp_path / "enhanced.dcm", hu, orientation=orientation, order=(3, 0, 5, 1, 4, 2))
    else:
        factory.write_series(tmp_path, hu, orientation=orientation, names=lambda k: f"IM{99 - k}.dcm")
    _, volume, source = found(tmp_path)
    values = np.random.default_rng(0).integers(0, 255, volume.array.shape).astype(np.uint8)
    back = list(values_on_frames(values, volume.affine_ras, source.frames))
    np.testing.assert_array_equal(np.stack(back), values.transpose(2, 1, 0))
    for k, frame in enumerate(source.frames):  # each on the image whose pixels the volume has there
        pixels = pydicom.dcmread(frame.path).pixel_array
        pixels = pixels[frame.number].astype(int) - k if enhanced else pixels.astype(int)
        np.testing.assert_array_equal(pixels - 1024, volume.array[:, :, k].T)


def test_positions_rounded_to_a_tenth_give_back_the_very_slices(tmp_path):
    def rounded(k, dataset):
        factory.place(dataset, (10.0, -20.0, round(30 + 0.625 * k, 1)))

    factory.write_series(tmp_path, factory.phantom(slices=40), change=rounded)
    _, volume, source = found(tmp_path)
    values = np.random.default_rng(0).integers(0, 255, volume.array.shape).astype(np.uint8)
    back = list(values_on_frames(values, volume.affine_ras, source.frames))
    np.testing.assert_array_equal(np.stack(back), values.transpose(2, 1, 0))


def test_every_pixel_of_a_straightened_series_lies_in_its_volume(tmp_path):
    _, volume, source = found(written(tmp_path, 20.0, 35.0, [*np.arange(0, 20, 2.0), *np.arange(20, 45.5, 3.0)]))
    ones = np.ones(volume.array.shape, np.uint8)
    for plane in values_on_frames(ones, volume.affine_ras, source.frames):
        assert plane.all()


def test_half_a_pixel_of_shift_leaves_no_pixel_twice_and_none_out(tmp_path):
    def half(k, dataset):  # every slice half a row further
        factory.place(dataset, (0.0, 0.4 * k, 2.0 * k))

    factory.write_series(tmp_path, factory.phantom(16, 20, 6), change=half)
    _, volume, source = found(tmp_path)
    rows = np.broadcast_to(np.arange(volume.array.shape[1], dtype=np.uint8)[None, :, None], volume.array.shape)
    for plane in values_on_frames(np.ascontiguousarray(rows), volume.affine_ras, source.frames):
        assert (np.diff(plane[:, 0].astype(int)) == 1).all()


@pytest.mark.parametrize("placed", [False, True])
def test_a_radiograph_gives_back_its_very_pixels_whatever_its_headers_say_of_its_place(tmp_path, placed):
    stored = np.arange(30 * 20).reshape(30, 20) % 4096
    place = {
        "PixelSpacing": [0.2, 0.2],
        "ImagePositionPatient": [40.0, 50.0, 60.0],
        "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
        "PatientOrientation": ["R", "F"],
    }
    factory.write_radiograph(tmp_path / "x.dcm", stored, **(place if placed else {}))
    _, volume, source = found(tmp_path, "DX")
    assert [frame.plane for frame in source.frames] == [None]
    values = np.random.default_rng(0).integers(0, 255, volume.array.shape).astype(np.uint8)
    (back,) = values_on_frames(values, volume.affine_ras, source.frames)
    np.testing.assert_array_equal(back, values[:, :, 0].T)


def test_datasets_come_without_pixels_in_the_order_of_the_frames(tmp_path):
    factory.write_series(tmp_path, names=lambda k: f"IM{99 - k}.dcm")
    _, _, source = found(tmp_path)
    assert [dataset.InstanceNumber for dataset in source.headers] == [1, 2, 3, 4, 5, 6]
    assert not any("PixelData" in dataset for dataset in source.headers)


def test_a_file_that_is_no_dicom_any_more_is_said(tmp_path):
    (case,) = discover(factory.write_series(tmp_path))
    case.files[2].write_bytes(b"no longer an image")
    object.__setattr__(case, "headers", ())
    with pytest.raises(InputError, match="not readable as DICOM; give the DICOM images"):
        read_source(case)


def test_a_file_that_has_gone_since_it_was_found_is_said(tmp_path):
    (case,) = discover(factory.write_series(tmp_path))
    case.files[2].unlink()
    with pytest.raises(InputError, match=r"IM0002\.dcm: can't be read any more \(.*\); run again"):
        read_source(case)
    object.__setattr__(case, "headers", ())
    with pytest.raises(InputError, match=r"IM0002\.dcm: can't be read any more \(.*\); run again"):
        read_source(case)


@pytest.mark.parametrize("name", ["gantrytilting/001", "sliceincrement/001", "sliceincrement/002"])
def test_a_sphere_in_a_real_hard_series_comes_back_on_the_original_frames(real_data, name):
    folder = real_data / "dicom" / "dicom2nifti_failing" / "tests" / "data" / "failing" / name
    assert sphere_dice(folder, radius_mm=40.0) >= 0.99
