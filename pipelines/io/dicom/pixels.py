"""Stored pixel values of a DICOM file, whatever its transfer syntax, frame by frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import iter_pixels
from pydicom.uid import RLELossless

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.codestream import codestream_trouble
from radseg.pipelines.io.dicom.gdcm_process import PLUGIN, decode_file
from radseg.pipelines.io.dicom.header import quiet_pydicom
from radseg.pipelines.io.dicom.stream import dicom_stream
from radseg.pipelines.io.volume import first_line

_JPEG = "1.2.840.10008.1.2.4."
# Lossy JPEG with 12 bits, current and retired; pydicom hands none of them to a decoder, GDCM's file reader knows all.
_JPEG_12_BIT = {_JPEG + process for process in ("51", "53", "55")}

# One decoder for each: of damaged codestreams GDCM's crash the process in 1 to 3 % of tries, these in none of 400. Of
# damaged RLE pylibjpeg's panics in 5 %, with an error that is no Exception; pydicom's own takes 5 ms a slice, not 1.
_DECODERS = {
    str(RLELossless): "pydicom",
    **dict.fromkeys((_JPEG + "50", _JPEG + "51"), "pillow"),
    **dict.fromkeys((_JPEG + "57", _JPEG + "70"), PLUGIN),
    **dict.fromkeys((_JPEG + "80", _JPEG + "81"), "pyjpegls"),
    **dict.fromkeys((_JPEG + "90", _JPEG + "91"), "pylibjpeg"),
    **dict.fromkeys((_JPEG + "201", _JPEG + "202", _JPEG + "203"), "pylibjpeg"),
}


def read_dataset(path: Path) -> Any:
    """The whole pydicom dataset, pixel data included but not decoded.

    Raises:
        InputError: the file can't be read as DICOM.
    """
    try:
        with path.open("rb") as file, quiet_pydicom():
            return pydicom.dcmread(dicom_stream(file), force=True)
    except Exception as error:  # pydicom has no single error for a damaged file
        raise InputError(f"{path}: not readable as DICOM ({first_line(error)}); fetch the file again") from error


def stored_frames(dataset: Any, path: Path) -> Iterator[npt.NDArray[Any]]:
    """Yield each frame's stored values, shape (rows, columns), native byte order, before rescale.

    Bits beyond BitsStored, such as overlays, are left out.

    Raises:
        InputError: the pixels can't be decoded, or there are fewer frames than NumberOfFrames says.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID", "") if hasattr(dataset, "file_meta") else ""
    try:
        with quiet_pydicom():
            if not syntax:
                little, implicit = dataset.original_encoding[1], dataset.original_encoding[0]
                dataset.file_meta.TransferSyntaxUID = _uncompressed(little, implicit)
            _check_bits(dataset)
            _check_codestreams(dataset, syntax)
            frames = int(dataset.get("NumberOfFrames") or 1)
            yielded = 0
            for frame in _decoded(dataset, path, syntax):
                yield frame.astype(frame.dtype.newbyteorder("="), copy=False)
                yielded += 1
                if yielded == frames:
                    return
        raise ValueError(f"{yielded} frames where NumberOfFrames is {frames}")
    except InputError:
        raise
    except Exception as error:  # each decoder plug-in raises its own kind
        name = getattr(syntax, "name", syntax) or "no transfer syntax"
        raise InputError(
            f"{path}: pixels can't be decoded ({name}: {_cause(error)[:160]}); "
            "fetch the file again or decompress it (gdcmconv --raw)"
        ) from error


def _cause(error: Exception) -> str:
    """What is wrong, in one line: pydicom says the decoder's own words in its second."""
    lines = str(error).strip().splitlines()
    return lines[1].strip() if len(lines) > 1 and lines[0].startswith("Unable to decode") else first_line(error)


def _check_bits(dataset: Any) -> None:
    """See that the stored bits are the lowest ones, as PS3.5 8.1.1 demands and every decoder here takes for granted.

    Raises:
        ValueError: they aren't, as in some files of the time before 2005.
    """
    high, stored = dataset.get("HighBit"), dataset.get("BitsStored")
    if high is not None and stored is not None and int(high) >= int(stored):
        raise ValueError(f"HighBit {high} with BitsStored {stored} isn't supported")


def _check_codestreams(dataset: Any, syntax: str) -> None:
    """See that the frames of a JPEG kind are whole and of the stated size, before a decoder gets them.

    Raises:
        ValueError: one isn't.
    """
    if not syntax.startswith(_JPEG):
        return
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    number = int(dataset.get("NumberOfFrames") or 1)
    for index, frame in enumerate(generate_frames(dataset.PixelData, number_of_frames=number)):
        trouble = codestream_trouble(frame, rows, columns, samples)
        if trouble:
            raise ValueError(trouble if number == 1 else f"frame {index + 1}: {trouble}")


def _decoded(dataset: Any, path: Path, syntax: str) -> Iterator[npt.NDArray[Any]]:
    if syntax in _JPEG_12_BIT and int(dataset.BitsAllocated) == 16:
        return _frames_of_12_bits(dataset, path)
    frames: Iterator[npt.NDArray[Any]] = iter_pixels(dataset, decoding_plugin=_DECODERS.get(syntax, ""))
    return frames


def _uncompressed(little: bool | None, implicit: bool | None) -> str:
    if implicit:
        return str(pydicom.uid.ImplicitVRLittleEndian)
    return str(pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian)


def _frames_of_12_bits(dataset: Any, path: Path) -> Iterator[npt.NDArray[Any]]:
    dtype = np.int16 if int(dataset.PixelRepresentation) else np.uint16
    frames, rows, columns = int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns)
    stored = np.frombuffer(decode_file(path), dtype=dtype)
    if stored.size != frames * rows * columns:
        raise ValueError("the decoder gave no complete image")
    yield from stored.reshape(frames, rows, columns)
