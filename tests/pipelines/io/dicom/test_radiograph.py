"""DX, CR and film radiographs in DICOM: what is shown, how large a pixel is, which way it lies, what is refused."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd
from PIL import Image
from pydicom.pixels import compress, convert_color_space
from pydicom.uid import JPEG2000Lossless, RLELossless

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import LoadCased, load_volume
from radseg.pipelines.io.dicom.radiograph import read_radiograph

RAMP = np.linspace(0, 4095, 5 * 7).astype(np.uint16).reshape(5, 7)
FULL_WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def test_a_radiograph_lies_as_the_picture_of_it(tmp_path, factory):
    grey = (RAMP // 16).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "x.png")
    dicom = read_radiograph(factory.write_radiograph(tmp_path / "x.dcm", grey, bits=8))
    picture = load_volume(tmp_path / "x.png", modality="DX")
    np.testing.assert_array_equal(dicom.array, picture.array)
    np.testing.assert_array_equal(dicom.affine_ras, picture.affine_ras)
    assert (dicom.units, dicom.array.dtype, dicom.is_picture) == ("grey", np.float32, True)


@pytest.mark.parametrize(
    ("attributes", "spacing", "note"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (0.1, 0.2), ""),
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.22, 0.11]}, (0.1, 0.2), ""),
        (
            {"ImagerPixelSpacing": [0.2, 0.1]},
            (0.1, 0.2),
            "spacing measured at the detector: lengths are magnified",
        ),
        (  # PS3.3 10.7.1.3: equal values mean that nobody has corrected them
            {"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.2, 0.1]},
            (0.1, 0.2),
            "spacing measured at the detector: lengths are magnified",
        ),
        (
            {
                "PixelSpacing": [0.2, 0.1],
                "ImagerPixelSpacing": [0.2, 0.1],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            (0.1, 0.2),
            "",
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.08, 0.16),
            "spacing measured at the detector, divided by its magnification of 1.25",
        ),
        ({}, None, "no PixelSpacing or ImagerPixelSpacing: lengths are unknown"),
        ({"PixelSpacing": [0, 0.1]}, None, "no PixelSpacing or ImagerPixelSpacing: lengths are unknown"),
    ],
)
def test_the_size_of_a_pixel_is_that_of_the_patient_as_far_as_is_known(tmp_path, factory, attributes, spacing, note):
    volume = read_radiograph(factory.write_radiograph(tmp_path / "x.dcm", RAMP, **FULL_WINDOW, **attributes))
    assert volume.spacing_known == (spacing is not None)
    np.testing.assert_allclose(volume.spacing_mm[:2], spacing or (1, 1))
    assert volume.notes == ((note,) if note else ())


def shown(image: MetaTensor) -> np.ndarray:
    """Rows and columns in the standard display."""
    standard = Orientationd("image", axcodes="LPS", labels=None)({"image": image})["image"]
    return np.asarray(standard[0, :, :, 0]).T


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (["L", "F"], lambda display: display),
        (["R", "F"], lambda display: display[:, ::-1]),
        (["L", "H"], lambda display: display[::-1]),
        (["R", "H"], lambda display: display[::-1, ::-1]),
        (["F", "L"], lambda display: display.T),
        (["F", "R"], lambda display: np.rot90(display)),
        (["LH", "FL"], lambda display: display),
        (["A", "F"], lambda display: display),
        (["P", "H"], lambda display: display[::-1]),
        (["L", "L"], lambda display: display),
        (["X", "Y"], lambda display: display),
        ("", lambda display: display),
    ],
)
def test_a_mirrored_or_turned_radiograph_is_shown_upright_and_its_mask_goes_back(
    tmp_path, factory, orientation, stored
):
    pixels = stored(RAMP)
    path = factory.write_radiograph(
        tmp_path / "x.dcm", pixels, PatientOrientation=orientation, PixelSpacing=[0.2, 0.1], **FULL_WINDOW
    )
    upright = read_radiograph(factory.write_radiograph(tmp_path / "y.dcm", RAMP, **FULL_WINDOW))
    volume = read_radiograph(path)
    assert volume.array.shape[:2] == pixels.T.shape
    np.testing.assert_allclose(volume.spacing_mm, (0.1, 0.2, 1))
    np.testing.assert_array_equal(shown(volume.to_tensor()), upright.array[..., 0].T)
    turned = "PatientOrientation" in " ".join(volume.notes)
    assert turned == (not np.array_equal(pixels, RAMP))

    steps = Compose([LoadCased("image", modality="DX"), Orientationd("image", axcodes="LPS", labels=None)])
    data = steps({"image": path})
    data["pred"] = (data["image"] > 100).float()
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=True)(data)["pred"]
    assert torch.equal(torch.as_tensor(back[0]), torch.as_tensor((volume.array > 100).astype(np.float32)))


@pytest.mark.parametrize("modality", ["DX", "CR", "RG", ""])
def test_every_kind_of_plain_radiograph_is_taken(tmp_path, factory, modality):
    path = factory.write_radiograph(tmp_path / "x.dcm", RAMP, Modality=modality)
    assert load_volume(path, modality="DX").array.shape == (7, 5, 1)
    assert load_volume(path, modality="CR").array.shape == (7, 5, 1)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"Modality": "MG"}, "Modality MG (mammogram), expected DX, CR or RG"),
        ({"Modality": "XA"}, "Modality XA (angiogram), expected DX, CR or RG"),
        ({"Modality": "RF"}, "Modality RF (fluoroscopy), expected DX, CR or RG"),
        ({"Modality": "OT"}, "Modality OT (other), expected DX, CR or RG"),
        ({"Modality": "CT"}, "Modality CT, expected DX, CR or RG; give it to a CT bundle"),
        ({"Modality": "MR"}, "Modality MR, expected DX, CR or RG"),
        ({"Modality": "", "SOPClassUID": "1.2.3"}, "no Modality and nothing that shows it is DX, CR or RG"),
        ({"NumberOfFrames": 3}, "3 frames, a radiograph has one; save the one that is wanted"),
        ({"Rows": 0}, "no Rows or Columns, so no image"),
        ({"Rows": 20000, "Columns": 20000}, "20000×20000 pixels, at most 100 megapixels are read; crop or reduce"),
        ({"PhotometricInterpretation": "HSV"}, "PhotometricInterpretation HSV isn't known; export the image as"),
        ({"PhotometricInterpretation": ""}, "no PhotometricInterpretation; export the image as MONOCHROME2"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a screenshot (secondary capture), not a radiograph"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "RescaleSlope is 0; export the image again"),
        ({"BitsAllocated": 8}, "PixelData of 70 bytes where 35 are needed"),
        ({"Rows": 6}, "PixelData of 70 bytes where 84 are needed"),
    ],
)
def test_what_is_no_radiograph_gets_one_line(tmp_path, factory, attributes, said):
    path = factory.write_radiograph(tmp_path / "x.dcm", RAMP, **attributes)
    for read in (read_radiograph, lambda path: load_volume(path, modality="DX")):
        with pytest.raises(InputError) as refused:
            read(path)
        assert str(refused.value).startswith(f"{path}: {said}")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("keyword", ["PixelData", "BitsAllocated", "PhotometricInterpretation", "Columns"])
def test_a_radiograph_without_what_it_needs_gets_one_line(tmp_path, factory, keyword):
    path = factory.write_radiograph(tmp_path / "x.dcm", RAMP)
    factory.rewrite(path, lambda dataset: delattr(dataset, keyword))
    with pytest.raises(InputError) as refused:
        load_volume(path, modality="DX")
    assert str(refused.value).startswith(f"{path}: ")
    assert keyword in str(refused.value).replace(" ", "")


def test_an_all_black_radiograph_is_refused(tmp_path, factory):
    path = factory.write_radiograph(tmp_path / "x.dcm", np.zeros((5, 7), np.uint16))
    with pytest.raises(InputError, match=r"every voxel is 0 \(constant image\)"):
        load_volume(path, modality="DX")


def test_something_else_called_dcm_gets_one_line(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"garbage" * 100)
    with pytest.raises(InputError, match="not readable as DICOM"):
        read_radiograph(tmp_path / "x.dcm")


@pytest.mark.parametrize(
    ("form", "syntax"),
    [
        *(("16 bits", syntax) for syntax in (None, JPEG2000Lossless, RLELossless)),
        *(("RGB", syntax) for syntax in (None, JPEG2000Lossless, RLELossless)),
        *(("YBR_FULL", syntax) for syntax in (None, RLELossless)),
    ],
)
def test_compressed_and_coloured_pixels_show_the_same(tmp_path, factory, form, syntax):
    grey = np.linspace(0, 255, 32 * 48).astype(np.uint8).reshape(32, 48)
    if form == "16 bits":
        dataset = factory.radiograph(grey.astype(np.uint16) * 257, bits=16, WindowCenter=32768, WindowWidth=65536)
    else:
        rgb = np.repeat(grey[..., np.newaxis], 3, axis=2)
        dataset = factory.radiograph(rgb if form == "RGB" else convert_color_space(rgb, "RGB", form))
        dataset.PhotometricInterpretation = form
    if syntax is not None:
        compress(dataset, syntax)
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    assert abs(read_radiograph(tmp_path / "x.dcm").array[..., 0].T - grey).max() <= 1


def test_signed_values_are_shown_in_order(tmp_path, factory):
    signed = RAMP.astype(np.int16) - 2000
    path = factory.write_radiograph(tmp_path / "x.dcm", signed, bits=16, signed=True)
    grey = read_radiograph(path).array[..., 0].T.ravel()
    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)


@pytest.mark.parametrize(
    ("attributes", "note"),
    [
        ({"ViewPosition": "LL"}, "lateral view: ViewPosition LL, where frontal views are expected"),
        ({"ViewPosition": "RL"}, "lateral view: ViewPosition RL, where frontal views are expected"),
        ({"ViewPosition": "LATERAL"}, "lateral view: ViewPosition LATERAL, where frontal views are expected"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "PresentationIntentType FOR PROCESSING: raw values"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "stored as a secondary capture: the grey values may"),
        ({"ViewPosition": "PA"}, ""),
    ],
)
def test_what_makes_a_radiograph_doubtful_is_said(tmp_path, factory, attributes, note):
    usual = {**FULL_WINDOW, "PixelSpacing": [0.1, 0.1]}
    volume = read_radiograph(factory.write_radiograph(tmp_path / "x.dcm", RAMP, **usual, **attributes))
    if note:
        assert [said.startswith(note) for said in volume.notes] == [True]
    else:
        assert volume.notes == ()


def test_volumes_are_no_radiographs(tmp_path):
    nib.save(nib.Nifti1Image(RAMP.T[..., np.newaxis].astype(np.int16), np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(InputError, match="a radiograph is read from DICOM, PNG or JPEG; export it as one of them"):
        load_volume(tmp_path / "x.nii", modality="DX")
