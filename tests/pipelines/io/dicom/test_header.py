"""What a DICOM file says about itself, and what is said of one that is broken or no image."""

import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from radseg.pipelines.io.dicom.header import quiet_pydicom, read_header
from radseg.pipelines.io.dicom.objects import energy_note, no_ct, no_image, object_name
from radseg.pipelines.io.dicom.stream import dicom_stream


def header_of(tmp_path, factory, change=lambda dataset: None, hu=None):
    dataset = factory.ct_slice(factory.phantom()[:, :, 0] if hu is None else hu)
    factory.place(dataset, (10, -20, 30))
    change(dataset)
    with quiet_pydicom():
        dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    return read_header(tmp_path / "one.dcm")


def test_study_acquisition_and_tilt_are_read(tmp_path, factory):
    def change(dataset):
        dataset.StudyInstanceUID, dataset.AcquisitionNumber, dataset.GantryDetectorTilt = "1.2.3", 4, -12.5

    header = header_of(tmp_path, factory, change)
    assert (header.study_uid, header.acquisition_number, header.gantry_tilt_degrees) == ("1.2.3", 4, -12.5)
    bare = header_of(tmp_path, factory)
    assert (bare.study_uid, bare.acquisition_number, bare.gantry_tilt_degrees) == (None, None, None)


@pytest.mark.parametrize(("keyword", "value"), [("AcquisitionNumber", b"four"), ("GantryDetectorTilt", b"steep ")])
def test_a_number_that_is_none_and_does_not_matter_is_left_out(tmp_path, factory, keyword, value):
    header = header_of(tmp_path, factory, lambda dataset: raw(dataset, keyword, value))
    assert (header.acquisition_number, header.gantry_tilt_degrees) == (None, None)
    assert (header.damage, header.pixel_trouble) == ("", "")


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("NumberOfFrames", b"-3", "NumberOfFrames -3 can't be right"),
        ("NumberOfFrames", b"many", "NumberOfFrames many can't be right"),
        ("ImagePositionPatient", b"1e308\\0\\0 ", "ImagePositionPatient can't be right"),
        ("ImagePositionPatient", b"NaN\\0\\0 ", "ImagePositionPatient can't be right"),
        ("PixelSpacing", b"1\\x ", "PixelSpacing can't be right"),
        ("Rows", b"\0\0", "no Rows or Columns, so no image"),
    ],
)
def test_a_header_that_can_not_be_right_says_so(tmp_path, factory, keyword, value, said):
    header = header_of(tmp_path, factory, lambda dataset: raw(dataset, keyword, value))
    assert header.damage == header.pixel_trouble == said
    assert header.series_uid == factory.SERIES


def raw(dataset, keyword, value):
    """Put bytes where pydicom would check a value."""
    vr = pydicom.datadict.dictionary_VR(keyword)
    tag = pydicom.tag.Tag(keyword)
    dataset[keyword] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)


@pytest.mark.parametrize("frames", [2**31, 10**12])
def test_frames_beyond_belief_take_no_memory(tmp_path, factory, frames):
    header = header_of(tmp_path, factory, lambda dataset: setattr(dataset, "NumberOfFrames", frames))
    assert header.slices == ()
    assert f"{frames} frames of 5×7 pixels are claimed in" in header.pixel_trouble


def test_one_kilobyte_can_not_claim_a_large_image(tmp_path, factory):
    def change(dataset):
        dataset.Rows = dataset.Columns = 60_000

    assert "1 frames of 60000×60000 pixels are claimed in" in header_of(tmp_path, factory, change).pixel_trouble


def test_pixels_fewer_than_stated_are_seen_in_the_header(tmp_path, factory):
    header = header_of(tmp_path, factory, lambda dataset: setattr(dataset, "PixelData", bytes(68)))
    assert header.pixel_trouble == "PixelData of 68 bytes where 70 are needed"


@pytest.mark.parametrize("columns", [pytest.param(0x4241 // 2, id="a length that reads as letters"), 16])
def test_a_length_in_implicit_vr_is_no_value_representation(tmp_path, factory, columns):
    hu = np.zeros((columns, 1)) if columns != 16 else np.zeros((columns, 5))

    def change(dataset):
        dataset.PixelData = dataset.PixelData + bytes(0x4241 * (columns != 16) + 1 - len(dataset.PixelData) % 2)[:2]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    header = header_of(tmp_path, factory, change, hu)
    assert header.pixel_trouble == ""


def test_a_file_cut_off_anywhere_names_its_trouble(tmp_path, factory):
    file = factory.write_series(tmp_path, factory.phantom(slices=1)) / "IM0000.dcm"
    content = file.read_bytes()
    for length in range(300, len(content), 7):
        file.write_bytes(content[:length])
        header = read_header(file)
        assert header is not None, length
        assert header.pixel_trouble, length


def test_an_encapsulated_file_without_its_end_is_cut_off(tmp_path, factory):
    def change(dataset):
        dataset.compress(JPEG2000Lossless)

    whole = header_of(tmp_path, factory, change, factory.phantom(40, 36, 1)[:, :, 0])
    assert whole.pixel_trouble == ""
    content = whole.path.read_bytes()
    for missing in (1, 8, 9, 100):
        whole.path.write_bytes(content[:-missing])
        assert read_header(whole.path).pixel_trouble == "PixelData cut off"


def test_a_broken_file_still_names_its_series(tmp_path, factory):
    header = header_of(tmp_path, factory)
    content = header.path.read_bytes()
    start = content.index(b"\x20\x00\x0e\x00UI")
    # a sequence of which nothing follows, behind SeriesInstanceUID and among what must be read
    broken = content[: content.index(b"\x28\x00\x10\x00")] + b"\x28\x00\x00\x30SQ\0\0\xff\xff\xff\xff" + b"\x01" * 30
    header.path.write_bytes(broken)
    found = read_header(header.path)
    assert start < len(broken)
    assert found.series_uid == factory.SERIES
    assert found.damage.startswith("its header can't be read")


def test_every_frame_counts_for_type_and_units(tmp_path, factory):
    file = factory.write_enhanced(tmp_path / "enhanced.dcm", factory.phantom())

    def change(dataset):
        groups = dataset.PerFrameFunctionalGroupsSequence
        groups[3].PixelValueTransformationSequence[0].RescaleType = "Z_EFF"
        frame_type = Dataset()
        frame_type.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
        groups[4].CTImageFrameTypeSequence = [frame_type]

    factory.rewrite(file, change)
    header = read_header(file)
    assert header.rescale_type == "HU, Z_EFF"
    assert "LOCALIZER" in header.image_type


def test_a_private_element_of_gigabytes_is_skipped(tmp_path, factory):
    header = header_of(tmp_path, factory)
    content = header.path.read_bytes()
    place = content.index(b"\x10\x00\x10\x00") if b"\x10\x00\x10\x00" in content else content.index(b"\x18\x00\x50\x00")
    private = b"\x09\x00\x10\x10OB\0\0" + (3 << 30).to_bytes(4, "little")
    with header.path.open("wb") as file:
        file.write(content[:place] + private)
        file.seek(3 << 30, 1)  # a hole, not bytes
        file.write(content[place:])
    found = read_header(header.path)
    assert (found.rows, found.columns, found.pixel_trouble) == (5, 7, "")


def test_a_deflated_file_inflates_only_so_far(tmp_path, factory):
    header = header_of(tmp_path, factory, lambda dataset: None)
    dataset = pydicom.dcmread(header.path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(header.path)
    assert read_header(header.path) == header.__class__(
        **{**vars(header), "file_state": read_header(header.path).file_state}
    )
    content = header.path.read_bytes()
    squeeze = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(200)) + squeeze.flush()
    start = content.index(b"1.2.840.10008.1.2.1.99") + 22
    header.path.write_bytes(content[:start] + bomb)
    with header.path.open("rb") as file, pytest.raises(ValueError, match="inflates to more than"):
        dicom_stream(file).read()


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation"),
        ("1.2.840.10008.5.1.4.1.1.30", "Parametric Map"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RT Dose"),
        ("1.2.840.10008.5.1.4.1.1.88.22", "Enhanced SR"),
    ],
)
def test_what_is_no_image_is_called_by_its_name_whatever_its_modality(tmp_path, factory, sop_class, name):
    def change(dataset):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class

    header = header_of(tmp_path, factory, change)
    assert header.modality == "CT"
    assert object_name(sop_class) == name
    assert no_image(header) == no_ct(header) == f"{name}, not an image"


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2", "1.3.12.2.1107.5.9.1", ""])
def test_a_ct_and_what_is_private_may_be_an_image(tmp_path, factory, sop_class):
    header = header_of(tmp_path, factory, lambda dataset: setattr(dataset, "SOPClassUID", sop_class))
    assert no_ct(header) == ""


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_pixels_in_floating_point_are_refused_by_their_element(tmp_path, factory, keyword):
    def change(dataset):
        del dataset.PixelData
        setattr(dataset, keyword, bytes(35 * (4 if keyword == "FloatPixelData" else 8)))
        dataset.BitsAllocated = 32 if keyword == "FloatPixelData" else 64

    header = header_of(tmp_path, factory, change)
    assert no_ct(header) == f"pixels in {keyword}, where whole numbers (PixelData) are expected"


def test_a_table_instead_of_a_rescale_and_a_palette_are_no_hu(tmp_path, factory):
    def table(dataset):
        dataset.ModalityLUTSequence = [factory.lut_item(0, [1, 2, 3], 16)]

    assert "ModalityLUTSequence" in no_ct(header_of(tmp_path, factory, table))
    palette = header_of(
        tmp_path, factory, lambda dataset: setattr(dataset, "PhotometricInterpretation", "PALETTE COLOR")
    )
    assert no_ct(palette) == "PhotometricInterpretation PALETTE COLOR, a colour picture"


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("word", ["MONO\nCHROME", "\x00\n\x01", "RGB\x1b[31m"])
def test_a_text_with_control_characters_is_broken_and_never_repeated(tmp_path, factory, word):
    header = header_of(tmp_path, factory, lambda dataset: setattr(dataset, "PhotometricInterpretation", word))
    assert header.photometric == ""
    assert header.damage == "PhotometricInterpretation can't be right"


def test_multi_energy_images_are_told_and_those_without_hu_refused(tmp_path, factory):
    def header(word, units=""):
        def change(dataset):
            dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL", word]
            dataset.RescaleType = units

        return header_of(tmp_path, factory, change)

    assert energy_note(header("VMI")).startswith("multi-energy CT, virtual monoenergetic image")
    assert no_ct(header("VMI")) == ""
    assert no_ct(header("EFF_ATOMIC_NUM")) == "a multi-energy map of the effective atomic number, not in HU"
    assert no_ct(header("MAT_SPECIFIC", "HU")) == ""
    assert energy_note(header("NONE")) == ""
    assert read_header(tmp_path / "one.dcm").pixel_keyword == "PixelData"
    assert pydicom.dcmread(tmp_path / "one.dcm").file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
