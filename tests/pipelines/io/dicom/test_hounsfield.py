"""Stored values to HU: what a rescale may say, and which values are no data."""

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_volume
from radseg.pipelines.io.dicom.hounsfield import Rescale, padding_range, rescale_of, to_hu


def plain(**attributes):
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def raw(keyword, value, vr="DS"):
    dataset = plain()
    dataset[keyword] = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)
    return dataset


def test_a_rescale_that_is_absent_leaves_the_values_as_they_are():
    assert rescale_of(plain()) == Rescale(1.0, 0.0)
    assert rescale_of(plain(RescaleSlope=None, RescaleIntercept="")) == Rescale(1.0, 0.0)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"abc ", b"NaN ", b"inf ", b"1e308 ", b"1\\2 "])
def test_a_rescale_that_is_no_number_is_never_taken_for_none(keyword, value):
    trouble = rescale_of(raw(keyword, value))
    assert isinstance(trouble, str)
    assert trouble.startswith(keyword)
    assert trouble.endswith("; export the series again")


@pytest.mark.parametrize("slope", [0, 1e-300])
def test_a_slope_of_nothing_is_refused(slope):
    assert str(rescale_of(plain(RescaleSlope=slope))).startswith("RescaleSlope is ")


def test_a_table_and_a_palette_are_not_passed_over(factory):
    table = plain(ModalityLUTSequence=[factory.lut_item(0, [1, 2], 16)], RescaleSlope=1)
    assert "ModalityLUTSequence" in str(rescale_of(table))
    assert "PALETTE COLOR, expected MONOCHROME2" in str(rescale_of(plain(PhotometricInterpretation="PALETTE COLOR")))


def test_a_series_with_a_rescale_in_words_is_refused_by_file(tmp_path, factory):
    def change(k, dataset):
        dataset["RescaleIntercept"] = RawDataElement(Tag("RescaleIntercept"), "DS", 4, b"zero", 0, False, True)

    factory.write_series(tmp_path, change=change)
    with pytest.raises(InputError, match=r"IM0000\.dcm: RescaleIntercept is zero; export the series again"):
        load_volume(tmp_path)


@pytest.mark.parametrize(
    ("value", "signed", "expected"),
    [(63536, 1, -2000), (-2000, 1, -2000), (-2000, 0, 63536), (63536, 0, 63536), (0, 0, 0)],
)
def test_padding_is_read_in_the_sign_of_the_pixels(value, signed, expected):
    vr = "SS" if value < 0 else "US"
    dataset = plain(PixelRepresentation=signed)
    dataset.add_new("PixelPaddingValue", vr, value)
    assert padding_range(dataset) == (expected, expected)
    dataset.add_new("PixelPaddingRangeLimit", vr, value + 5)
    assert padding_range(dataset) == (expected, expected + 5)


@pytest.mark.parametrize("value", [b"\xff", b"1\\2\\3", b""])
def test_padding_that_is_no_word_pads_nothing(value):
    dataset = raw("PixelPaddingValue", value, "DS")
    assert padding_range(dataset) is None


def test_padding_of_a_signed_series_that_was_written_as_unsigned_becomes_air(tmp_path, factory):
    def change(k, dataset):
        stored = factory.phantom()[:, :, k].T.copy()
        stored[0, 0] = -2000
        factory.store(dataset, stored, signed=True)
        dataset.RescaleIntercept = 0
        dataset.add_new("PixelPaddingValue", "US", 63536)

    volume = load_volume(factory.write_series(tmp_path, change=change))
    assert (volume.array[0, 0] == -1024).all()
    np.testing.assert_array_equal(volume.array[1:], factory.phantom()[1:])


@pytest.mark.parametrize("slope", [0.5, 1e9, -1.0, 32.0])
def test_hu_are_exact_or_float_and_always_finite(slope):
    stored = np.array([[0, 1], [1000, 65535]], np.uint16)
    hu, padded = to_hu(stored, Rescale(slope, -1024.0))
    assert padded == 0
    assert np.isfinite(hu).all()
    np.testing.assert_allclose(hu, stored * slope - 1024, rtol=1e-6)
