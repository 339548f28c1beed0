"""Stored values to displayed grey, step by step as the standard's pipeline says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from radseg.pipelines.io.dicom.display_grey import VOIWindow, display_grey
from radseg.pipelines.io.dicom.lookup_table import lookup_table

RAMP = np.linspace(0, 4095, 300).astype(np.uint16).reshape(20, 15)


def dataset(bits=12, photometric="MONOCHROME2", **attributes):
    made = Dataset()
    made.BitsAllocated, made.BitsStored, made.PixelRepresentation = 16, bits, 0
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, photometric
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@settings(deadline=None, max_examples=40)
@given(
    values=hnp.arrays(np.uint16, (3, 4), elements=st.integers(0, 4095)),
    center=st.floats(-500, 5000),
    width=st.floats(1.5, 6000),
)
def test_windows_are_those_of_an_independent_implementation(function, values, center, width):
    made = dataset(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    with np.errstate(over="ignore"):  # far below a narrow sigmoid, where both give 0
        theirs = apply_windowing(values, made) * (255 / 4095)
    ours = VOIWindow(float(made.WindowCenter), float(made.WindowWidth), function)(values)
    np.testing.assert_allclose(ours, theirs, atol=0.05 + 255 * 1e-3 / width)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (VOIWindow(100, 1), [0, 0, 255, 255]),  # PS3.3 C.11.2.1.2.1: a width of 1 is a threshold
        (VOIWindow(100, 101), [123.675, 126.225, 128.775, 131.325]),
        (VOIWindow(100, 102, "LINEAR_EXACT"), [122.5, 125, 127.5, 130]),
        (VOIWindow(100, 1e-3, "SIGMOID"), [0, 0, 127.5, 255]),
    ],
)
def test_windows_are_those_of_the_standard(window, expected):
    np.testing.assert_allclose(window(np.array([98, 99, 100, 101])), expected, atol=1e-3)


def test_the_first_of_several_windows_is_taken():
    one, _ = display_grey(RAMP, dataset(WindowCenter=2000, WindowWidth=1000))
    several, notes = display_grey(RAMP, dataset(WindowCenter=[2000, 50], WindowWidth=[1000, 10]))
    np.testing.assert_array_equal(one, several)
    assert notes == ()


def test_a_window_lies_on_values_after_the_rescale():
    plain, _ = display_grey(RAMP, dataset(WindowCenter=2000, WindowWidth=1000))
    rescaled = dataset(WindowCenter=3900, WindowWidth=1999, RescaleSlope=2, RescaleIntercept=-100)
    np.testing.assert_allclose(display_grey(RAMP, rescaled)[0], plain, atol=0.3)


def table_item(first_mapped, table, bits):
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(table), first_mapped, bits], list(table)
    return item


def test_a_voi_lut_goes_before_the_window_and_keeps_all_its_entries():
    curve = np.rint(255 * (np.arange(4096) / 4095) ** 2).astype(int)  # more entries than eight bits can count
    made = dataset(VOILUTSequence=[table_item(0, curve, 8)], WindowCenter=10, WindowWidth=5)
    np.testing.assert_array_equal(display_grey(RAMP, made)[0], curve[RAMP])


def test_a_modality_lut_comes_first():
    upside_down = 4095 - np.arange(4096)
    made = dataset(ModalityLUTSequence=[table_item(0, upside_down, 12)], WindowCenter=2000, WindowWidth=1000)
    straight, _ = display_grey((4095 - RAMP).astype(np.uint16), dataset(WindowCenter=2000, WindowWidth=1000))
    np.testing.assert_array_equal(display_grey(RAMP, made)[0], straight)


def test_values_outside_a_table_get_its_ends():
    lut = lookup_table([3, 10, 8], [5, 6, 7])
    np.testing.assert_array_equal(lut(np.array([-4, 9, 10, 11.4, 12, 99])), [5, 5, 5, 6, 7, 7])


@pytest.mark.parametrize(
    ("data", "little_endian", "bits"),
    [(b"\1\2\3\4", True, 8), (b"\1\0\2\0\3\0\4\0", True, 16), (b"\0\1\0\2\0\3\0\4", False, 16)],
)
def test_tables_in_bytes_are_read_in_words_of_8_or_16_bits(data, little_endian, bits):
    lut = lookup_table([4, 0, 16], data, little_endian=little_endian)
    np.testing.assert_array_equal(lut(np.arange(4)), [1, 2, 3, 4])
    assert lut.white == (1 << bits) - 1


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (Dataset(), "the table or its descriptor is missing"),
        (table_item(0, [1, 2, 3], 17), "17 bits an entry"),
    ],
)
def test_a_broken_table_is_named(item, said):
    with pytest.raises(ValueError, match=f"its VOI LUT can't be applied \\({said}\\)"):
        display_grey(RAMP, dataset(VOILUTSequence=[item]))


def test_a_table_shorter_than_it_says_is_named():
    item = table_item(0, [1, 2, 3], 8)
    item.LUTDescriptor = [4, 0, 8]
    with pytest.raises(ValueError, match="3 entries where 4 are stated"):
        display_grey(RAMP, dataset(VOILUTSequence=[item]))


@pytest.mark.parametrize("intent", [{}, {"PresentationLUTShape": "INVERSE"}, {"PresentationLUTShape": "IDENTITY"}])
def test_monochrome1_is_inverted_once(intent):
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    positive, _ = display_grey(RAMP, dataset(**window))
    negative, notes = display_grey(RAMP, dataset(photometric="MONOCHROME1", **window, **intent))
    np.testing.assert_allclose(negative, 255 - positive, atol=1e-4)
    assert notes == ()


def test_an_inverse_presentation_lut_is_honoured_and_said():
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    inverse, notes = display_grey(RAMP, dataset(PresentationLUTShape="INVERSE", **window))
    np.testing.assert_allclose(inverse, 255 - display_grey(RAMP, dataset(**window))[0], atol=1e-4)
    assert notes == ("MONOCHROME2 with PresentationLUTShape INVERSE: inverted",)


def test_eight_bits_without_window_are_grey_already():
    stored = (RAMP // 16).astype(np.uint8)
    grey, notes = display_grey(stored, dataset(bits=8))
    np.testing.assert_array_equal(grey, stored)
    assert notes == ()


def test_without_window_the_image_is_stretched_between_its_percentiles():
    stored = np.random.default_rng(0).integers(1000, 1201, (100, 100)).astype(np.uint16)
    stored[:2, 0] = 4095  # a marker
    grey, notes = display_grey(stored, dataset())
    np.testing.assert_allclose(grey, (np.minimum(stored, 1200) - 1000.0) * 255 / 200, atol=0.01)
    assert notes == ("no window: 1000 to 1200 (0.1 to 99.9 percentile) shown as black to white",)


def test_padding_doesnt_stretch_the_image_and_is_black():
    stored = np.random.default_rng(0).integers(1000, 1201, (100, 100)).astype(np.uint16)
    stored[:, :30] = 4000
    stored[:, 30:40] = 4001
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        made = dataset(photometric=photometric, PixelPaddingValue=4000, PixelPaddingRangeLimit=4001)
        grey, notes = display_grey(stored, made)
        assert (grey[:, :40] == 0).all()
        assert grey[:, 40:].max() > 250
        assert "4000 padding pixels set to black" in notes


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"WindowCenter": 100, "WindowWidth": 0}, "WindowWidth 0 isn't allowed: left out"),
        ({"WindowCenter": 9000, "WindowWidth": 10}, "its window or VOI LUT leaves one grey value: left out"),
        (
            {"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "CURVED"},
            "VOILUTFunction isn't one that the standard knows: taken as LINEAR",
        ),
    ],
)
def test_a_window_that_is_of_no_use_is_said(attributes, said):
    grey, notes = display_grey(RAMP, dataset(**attributes))
    assert said in notes
    assert (grey.min(), grey.max()) == (0, 255)


def test_a_slope_of_nothing_is_refused():
    with pytest.raises(ValueError, match="RescaleSlope is 0"):
        display_grey(RAMP, dataset(RescaleSlope=0, RescaleIntercept=0))


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.uint8, (4, 5, 3)))
def test_colours_become_the_grey_that_pictures_get(rgb):
    grey, _ = display_grey(rgb, dataset(bits=8, photometric="RGB"))
    np.testing.assert_array_equal(grey, np.asarray(Image.fromarray(rgb).convert("L")))


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (16, 65535)])
def test_palette_colours_become_grey(bits, white):
    made = dataset(bits=8, photometric="PALETTE COLOR")
    levels = {"Red": [0, white, 0, white], "Green": [0, 0, white, white], "Blue": [0, 0, 0, white]}
    for color, entries in levels.items():
        setattr(made, f"{color}PaletteColorLookupTableDescriptor", [4, 0, bits])
        words = np.array(entries, np.uint8 if bits == 8 else "<u2").tobytes()
        setattr(made, f"{color}PaletteColorLookupTableData", words)
    grey, _ = display_grey(np.array([[0, 1, 2, 3]], np.uint8), made)
    np.testing.assert_allclose(grey, [[0, 76, 150, 255]], atol=0.5)
