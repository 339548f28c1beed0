"""A case or a path to a checked volume, whatever the kind of its files."""

from dataclasses import replace
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.ct_series import read_series
from radseg.pipelines.io.dicom.radiograph import read_radiograph, wants_radiographs
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images
from radseg.pipelines.io.growth import see_that_none_came
from radseg.pipelines.io.itk_image import read_itk
from radseg.pipelines.io.nifti import read_nifti
from radseg.pipelines.io.pairing import mask_on_image
from radseg.pipelines.io.picture import read_mask_picture, read_picture
from radseg.pipelines.io.volume import Volume, checked_image, checked_mask


def load_volume(case_or_path: Case | Path | str, *, modality: str = "CT", min_slices: int = 1) -> Volume:
    """Read an image, its voxels float32 or, where that is exact and smaller, int16.

    Args:
        case_or_path: a case, or a file, folder or zip that holds exactly one.
        modality: DICOM Modality that a series must have; "DX" is every kind of radiograph (DX, CR, RG).
        min_slices: the fewest slices that make a volume here.

    Raises:
        InputError: the input is missing, not exactly one case, damaged, or no usable image.
    """
    case = as_case(case_or_path, modality=modality, min_slices=min_slices)
    volume = checked_image(_read_image(case, modality, min_slices), case.source, min_slices=min_slices)
    return replace(volume, notes=tuple(dict.fromkeys((*case.notes, *volume.notes)))) if case.notes else volume


def _read_image(case: Case, modality: str, min_slices: int) -> Volume:
    if case.kind in (InputKind.PNG, InputKind.JPEG):
        return read_picture(case.files[0])
    if wants_radiographs(modality):
        if case.kind == InputKind.DICOM:
            return read_radiograph(case.files[0])
        raise InputError(f"{case.source}: a radiograph is read from DICOM, PNG or JPEG; export it as one of them")
    units = "HU" if modality == "CT" else "grey"
    if case.kind == InputKind.DICOM:
        volume = read_series(case.files, modality=modality, min_slices=min_slices, headers=case.headers)
        see_that_none_came(case)
        return volume
    if case.kind == InputKind.NIFTI:
        return read_nifti(case.files[0], units=units)
    return read_itk(case.files[0], units=units)


def load_mask(case_or_path: Case | Path | str) -> Volume:
    """Read a mask: integer values as float32, units "label"; of a picture, see `read_mask_picture`.

    Raises:
        InputError: the input is missing, not exactly one file, damaged, holds NaN, or is a DICOM series.
    """
    case = as_case(case_or_path)
    if case.kind == InputKind.DICOM:
        raise InputError(f"{case.source}: a mask can't be read from DICOM images; give NIfTI, NRRD, MHA or PNG")
    if case.kind == InputKind.NIFTI:
        volume = read_nifti(case.files[0], units="label")
    elif case.kind == InputKind.ITK:
        volume = read_itk(case.files[0], units="label")
    else:
        volume = read_mask_picture(case.files[0])
    return checked_mask(volume, case.source)


def load_pair(image: Case | Path | str, mask: Case | Path | str, *, modality: str = "CT") -> tuple[Volume, Volume]:
    """Read an image and its mask, brought onto the image's grid by `mask_on_image`.

    Raises:
        InputError: either can't be used, or they don't belong together.
    """
    image_case, mask_case = as_case(image, modality=modality), as_case(mask)
    volume, mask_volume = load_volume(image_case, modality=modality), load_mask(mask_case)
    return volume, mask_on_image(image_case.source, volume, mask_case.source, mask_volume)


def as_case(case_or_path: Case | Path | str, *, modality: str = "CT", min_slices: int = 1) -> Case:
    """The case itself, or the one that a path holds.

    Raises:
        InputError: nothing there, nothing usable, or several cases.
    """
    if isinstance(case_or_path, Case):
        return case_or_path
    found = list(find_images([Path(case_or_path)], Search(modality, min_slices)))
    cases = [one for one in found if isinstance(one, Case)]
    if len(cases) == 1:
        return cases[0]
    if cases:
        raise InputError(f"{case_or_path}: holds {len(cases)} images; give one file or the folder of one series")
    refused = [one for one in found if isinstance(one, Refusal)]
    raise InputError(f"{refused[0].source}: {refused[0].reason}")
