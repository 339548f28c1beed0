"""What a DICOM object is, by its SOP class (PS3.6 table A-1): an image of stored values, or something else, by name."""

from pydicom.uid import UID

from radseg.pipelines.io.dicom.header import Header

# ImageType value 4 of multi-energy CT (PS3.3 C.8.2.1.1.1), which is read as CT where its RescaleType is HU.
_MULTI_ENERGY = {
    "VMI": "virtual monoenergetic image",
    "MAT_SPECIFIC": "material-specific image",
    "MAT_REMOVED": "image with a material removed (such as virtual non-contrast)",
    "MAT_FRACTIONAL": "material-fractional image",
    "MAT_MODIFIED": "image with a material modified",
    "MAT_VALUE_BASED": "value-based map of materials",
    "EFF_ATOMIC_NUM": "map of the effective atomic number",
    "ELECTRON_DENSITY": "map of the electron density",
}
_NO_HU = {"MAT_SPECIFIC", "MAT_FRACTIONAL", "MAT_VALUE_BASED", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY"}


def object_name(sop_class: str) -> str:
    """The standard's name of a SOP class without the word Storage, such as "Parametric Map"; "" of a private one."""
    uid = UID(sop_class)
    name = uid.name if sop_class else ""
    return "" if name == sop_class or uid.is_private else name.replace(" Storage", "")


def no_image(header: Header) -> str:
    """Why an object holds no stored values of an image, whatever its Modality says; "" when it may."""
    name = object_name(header.sop_class)
    if name and "Image" not in name:
        return f"{name}, not an image"
    if header.pixel_keyword in ("FloatPixelData", "DoubleFloatPixelData"):
        return f"pixels in {header.pixel_keyword}, where whole numbers (PixelData) are expected"
    return ""


def no_ct(header: Header) -> str:
    """Why an image's stored values can't become HU, whatever its Modality says; "" when they may."""
    if no_image(header):
        return no_image(header)
    if header.modality_lut:
        return "a table (ModalityLUTSequence) where a rescale to HU is expected"
    if header.samples_per_pixel == 1 and header.photometric not in ("", "MONOCHROME1", "MONOCHROME2"):
        return f"PhotometricInterpretation {header.photometric}, a colour picture"
    for word in header.image_type:
        if word in _NO_HU and not header.rescale_type.startswith("HU"):
            return f"a multi-energy {_MULTI_ENERGY[word]}, not in HU"
    return ""


def energy_note(header: Header) -> str:
    """What is to be said of a CT whose HU aren't those of a usual scan; "" when nothing is."""
    said = [_MULTI_ENERGY[word] for word in header.image_type if word in _MULTI_ENERGY]
    return f"multi-energy CT, {said[0]}: HU may differ from a usual scan's" if said else ""
