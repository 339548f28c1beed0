"""A submitted label as DICOM Segmentation, its segments in coded terms: by dcmqi's `itkimage2segimage`, else our own.

dcmqi wants images with a place in the patient; radseg's own writer takes radiographs too.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.datastore.utils.convert import nifti_to_dicom_seg

from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.segmentation import segmentation
from radseg.pipelines.dicom_out.source import read_source
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_mask
from radseg.pipelines.io.load import as_case
from radseg.pipelines.label_server.models.serving import Described
from radseg.pipelines.label_server.refused import Refused


def write_seg(series: Path | str, label: Path | str, infos: Sequence[Mapping[str, Any]]) -> Path | None:
    """Writes a label as a DICOM Segmentation to a temporary file, which the caller deletes.

    MONAI Label hands `infos` to the labels in the order in which they occur, so a mask that holds label 2 alone would
    be described as label 1: here each entry goes to the label whose number it has.

    Args:
        series: folder with the images' files.
        label: the label's file, on their grid.
        infos: MONAI Label's `label_info`; entry n is of label n + 1, unless its `segmentAttribute` has a `labelID`.

    Returns:
        The file, None of a label that is empty, which no Segmentation can be of.

    Raises:
        InputError: dcmqi couldn't write it, such as for a radiograph or an uneven series.
    """
    present = [int(value) for value in np.unique(load_mask(Path(label)).array) if value != 0]
    if not present:
        return None
    by_number = {_number(info, place): info for place, info in enumerate(infos, 1)}
    ordered = [dict(by_number.get(value, {"name": f"label {value}"})) for value in present]
    file = Path(nifti_to_dicom_seg(str(series), str(label), ordered, use_itk=True))
    if not file.is_file() or not file.stat().st_size:
        raise InputError("the label can't be put on these DICOM images; see that they are one regular series")
    return file


def write_own_seg(series: Path, label: Path, model: Described) -> Path | None:
    """Writes a label as a DICOM Segmentation without dcmqi; otherwise as `write_seg`.

    Its UIDs follow from the images and the label, so that a label which is sent twice is one object.

    Args:
        series: folder with the images' files.
        label: the label's file, on their grid.
        model: what the labels are.

    Raises:
        InputError: the images lack what it needs.
    """
    volume = load_mask(label)
    mask = np.minimum(volume.array, 1) if model.any_label else volume.array
    if not mask.any():
        return None
    digest = hashlib.sha256(label.read_bytes()).hexdigest()
    said = {"bundle": model.name, "bundle_version": version("radseg"), "recipe_sha256": digest}
    source = read_source(as_case(series, modality=model.modality))
    made = segmentation(Finding(mask.astype(np.uint8), volume.affine_ras, source, model.segments, said))
    for segment in made.SegmentSequence:
        segment.SegmentAlgorithmType = "SEMIAUTOMATIC"  # somebody has looked at it
    descriptor, name = tempfile.mkstemp(prefix="seg-", suffix=".dcm")
    with os.fdopen(descriptor, "wb") as stream:
        made.save_as(stream, enforce_file_format=True)
    return Path(name)


def seg_for_client(series_dir: str, label: str, label_info: Any, file_ext: str = "*", use_itk: bool = True) -> str:
    """What `/infer?output=dicom_seg` calls, in the place of MONAI Label's own.

    Raises:
        Refused: there is nothing in the mask, or it can't be written.
    """
    try:
        file = write_seg(series_dir, label, label_info if isinstance(label_info, list) else [])
    except InputError as error:
        raise Refused(422, str(error)) from error
    if file is None:
        raise Refused(422, "nothing was found in this image, and no DICOM Segmentation can be of nothing")
    return str(file)


def _number(info: Mapping[str, Any], place: int) -> int:
    attributes = info.get("segmentAttribute")
    return int(attributes["labelID"]) if isinstance(attributes, Mapping) and "labelID" in attributes else place
