"""Several stacks of slices under one SeriesInstanceUID."""

import numpy as np
import pytest

from radseg.pipelines.io.dicom.ct_series import read_series, select_slices
from radseg.pipelines.io.dicom.header import read_header
from radseg.pipelines.io.dicom.stacks import stacks_of

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def headers(*folders):
    return [read_header(file) for folder in folders for file in sorted(folder.iterdir())]


def counted(stacks):
    return [[header.path.parent.name for header in stack] for stack in stacks]


def acquired(number):
    return lambda k, dataset: setattr(dataset, "AcquisitionNumber", number)


def test_a_plain_series_is_one_stack_in_the_given_order(tmp_path, factory):
    found = headers(factory.write_series(tmp_path / "a"))
    assert stacks_of(found) == [found]
    assert stacks_of([]) == [[]]


def test_stacks_of_two_directions_are_two_volumes_the_larger_one_first(tmp_path, factory):
    small, large = factory.phantom(slices=4), factory.phantom(slices=6)
    first = factory.write_series(tmp_path / "coronal", small, orientation=CORONAL)
    second = factory.write_series(tmp_path / "axial", large)
    stacks = stacks_of(headers(first, second))
    assert counted(stacks) == [["axial"] * 6, ["coronal"] * 4]
    for stack, hu in zip(stacks, (large, small), strict=True):
        np.testing.assert_array_equal(read_series([header.path for header in stack]).array, hu)


@pytest.mark.parametrize("change", ["size", "spacing"])
def test_stacks_of_two_sizes_or_spacings_are_two(tmp_path, factory, change):
    def other(k, dataset):
        if change == "spacing":
            dataset.PixelSpacing = [0.4, 0.4]

    hu = factory.phantom(9, 8, 4) if change == "size" else factory.phantom(slices=4)
    found = headers(factory.write_series(tmp_path / "a"), factory.write_series(tmp_path / "b", hu, change=other))
    stacks = stacks_of(found)
    assert counted(stacks) == [["a"] * 6, ["b"] * 4]
    assert all(select_slices(stack).refusal == "" for stack in stacks)


def test_scans_over_the_same_positions_are_told_apart_by_their_acquisition(tmp_path, factory):
    plain, contrast = factory.phantom(), factory.phantom() + 50
    first = factory.write_series(tmp_path / "plain", plain, change=acquired(1))
    second = factory.write_series(tmp_path / "contrast", contrast, change=acquired(2))
    stacks = stacks_of(headers(second, first))
    assert counted(stacks) == [["plain"] * 6, ["contrast"] * 6]
    for stack, hu in zip(stacks, (plain, contrast), strict=True):
        np.testing.assert_array_equal(read_series([header.path for header in stack]).array, hu)


def test_scans_that_overlap_in_part_are_told_apart_by_their_acquisition(tmp_path, factory):
    first = factory.write_series(tmp_path / "head", change=acquired(1))
    second = factory.write_series(tmp_path / "neck", factory.phantom() + 50, origin=(10, -20, 20), change=acquired(2))
    assert counted(stacks_of(headers(first, second))) == [["head"] * 6, ["neck"] * 6]


def test_a_scan_acquired_in_parts_is_one_stack(tmp_path, factory):
    def parts(k, dataset):
        dataset.AcquisitionNumber = 4 + k // 2

    found = headers(factory.write_series(tmp_path / "a", change=parts))
    assert stacks_of(found) == [found]


def test_two_scans_acquired_in_parts_are_two_stacks(tmp_path, factory):
    def parts(first):
        return lambda k, dataset: setattr(dataset, "AcquisitionNumber", first + k // 2)

    one = factory.write_series(tmp_path / "one", change=parts(1))
    two = factory.write_series(tmp_path / "two", factory.phantom() + 50, change=parts(4))
    assert counted(stacks_of(headers(one, two))) == [["one"] * 6, ["two"] * 6]


@pytest.mark.parametrize("slices", [1, 6])
def test_repeated_positions_that_nothing_tells_apart_stay_together_and_are_refused(tmp_path, factory, slices):
    numbers = (3, 4) if slices == 1 else (3, 3)
    folders = [
        factory.write_series(tmp_path / name, factory.phantom(slices=slices) + shift, change=acquired(number))
        for name, shift, number in zip("ab", (0, 50), numbers, strict=True)
    ]
    (stack,) = stacks_of(headers(*folders))
    assert "2 slices with different pixels at one position" in select_slices(stack).refusal


def test_the_same_slices_twice_are_one_stack(tmp_path, factory):
    found = headers(*(factory.write_series(tmp_path / name, change=acquired(1)) for name in "ab"))
    assert stacks_of(found) == [found]
    assert "6 slices were there twice" in select_slices(found).notes[0]


@pytest.mark.parametrize("marked", [False, True])
def test_localizers_stay_with_the_largest_stack_that_sets_them_aside(tmp_path, factory, marked):
    def scout(k, dataset):
        if marked:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    scouts = factory.write_series(tmp_path / "scout", factory.phantom(9, 9, 2), orientation=CORONAL, change=scout)
    axial = factory.write_series(tmp_path / "axial")
    oblique = factory.write_series(tmp_path / "sagittal", factory.phantom(slices=4), orientation=(0, 1, 0, 0, 0, -1))
    stacks = stacks_of(headers(scouts, axial, oblique))
    assert counted(stacks) == [["scout"] * 2 + ["axial"] * 6, ["sagittal"] * 4]
    selection = select_slices(stacks[0])
    assert {file.parent.name for file in selection.files} == {"axial"}
    ((paths, reason),) = selection.set_aside
    assert len(paths) == 2
    assert "localizer" in reason


def test_slices_turned_here_and_there_make_no_stack_of_their_own(tmp_path, factory):
    def turned(k, dataset):
        if k % 2:
            dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    found = headers(factory.write_series(tmp_path / "a", change=turned))
    assert stacks_of(found) == [found]
    assert "mixed orientations (3 of 6 slices" in select_slices(found).refusal


def test_a_multi_frame_file_is_never_split(tmp_path, factory):
    found = [read_header(factory.write_enhanced(tmp_path / "enhanced", factory.phantom(slices=3), order=(0, 1, 2, 0)))]
    assert stacks_of(found) == [found]


def test_another_modality_in_the_series_makes_no_stack(tmp_path, factory):
    found = headers(
        factory.write_series(tmp_path / "ct"),
        factory.write_series(
            tmp_path / "pt", factory.phantom(9, 9, 8), change=lambda k, dataset: setattr(dataset, "Modality", "PT")
        ),
    )
    assert stacks_of(found) == [found]
    assert counted(stacks_of(found, "PT")) == [["ct"] * 6 + ["pt"] * 8]
