"""Write a radiograph as a DICOM Digital X-Ray object, the same byte for byte when written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.uid import DigitalXRayImageStorageForPresentation

from radseg.sample_data.radiographs import Radiograph
from radseg.sample_data.write_dicom import decimal, identified


def write_radiograph_dicom(path: Path, radiograph: Radiograph, *, name: str, body_part: str) -> None:
    """Write one Digital X-Ray Image Storage - For Presentation object (PS3.3 A.26) of 12 bits, MONOCHROME1.

    Grey values are turned round, as MONOCHROME1 wants (PS3.3 C.7.6.3.1.2), so that a reader that forgets it shows.

    Args:
        path: The file; its folder is made.
        radiograph: What is written.
        name: The image's name, such as "pelvis10"; UIDs, PatientID and PatientName follow from it.
        body_part: BodyPartExamined, such as "PELVIS".
    """
    case = name.split("_")[0]
    dataset = identified(case, DigitalXRayImageStorageForPresentation, "DX", "X-ray", name)
    dataset.BodyPartExamined = body_part
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.PatientOrientation = ["L", "F"]
    dataset.ViewPosition = "PA" if name.endswith("_pa") else "AP"
    dataset.ImagerPixelSpacing = [decimal(radiograph.spacing_mm)] * 2
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "INVERSE"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    # 16 stored values a grey value, so that the window (PS3.3 C.11.2.1.2.1) gives back the grey values of the PNG
    dataset.WindowCenter, dataset.WindowWidth = "2040.5", "4081"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.Rows, dataset.Columns = radiograph.pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    stored = 16 * (255 - radiograph.pixels.astype("<u2"))
    dataset.PixelData = np.ascontiguousarray(stored).tobytes()
    dataset["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
