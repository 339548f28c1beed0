"""Stored pixel values of a DICOM file, whatever its transfer syntax, frame by frame."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels import iter_pixels

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom_header import quiet_pydicom
from radseg.pipelines.io.volume import first_line

# Lossy JPEG with 12 bits, current and retired; pydicom hands none of them to a decoder, GDCM's file reader knows all.
_JPEG_12_BIT = {f"1.2.840.10008.1.2.4.{process}" for process in (51, 53, 55)}

# JPEG-LS by the decoder that takes little over half of GDCM's time; signed values of fewer than 16 bits, which pydicom
# can't correct in GDCM's read-only result, it decodes at all.
_PREFERRED = dict.fromkeys(("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"), "pyjpegls")


def read_dataset(path: Path) -> Any:
    """The whole pydicom dataset, pixel data included but not decoded.

    Raises:
        InputError: the file can't be read as DICOM.
    """
    try:
        with quiet_pydicom():
            return pydicom.dcmread(path, force=True)
    except Exception as error:  # pydicom has no single error for a damaged file
        raise InputError(f"{path}: not readable as DICOM ({first_line(error)}); fetch the file again") from error


def stored_frames(dataset: Any, path: Path) -> Iterator[npt.NDArray[Any]]:
    """Yield each frame's stored values, shape (rows, columns), native byte order, before rescale.

    Raises:
        InputError: the pixels can't be decoded.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID", "") if hasattr(dataset, "file_meta") else ""
    try:
        if syntax in _JPEG_12_BIT and int(dataset.BitsAllocated) == 16:
            yield from _frames_by_gdcm(dataset, path)
            return
        with quiet_pydicom():
            if not syntax:
                little, implicit = dataset.original_encoding[1], dataset.original_encoding[0]
                dataset.file_meta.TransferSyntaxUID = _uncompressed(little, implicit)
            for frame in _decoded(dataset, _PREFERRED.get(syntax)):
                yield frame.astype(frame.dtype.newbyteorder("="), copy=False)
    except InputError:
        raise
    except Exception as error:  # each decoder plug-in raises its own kind
        name = getattr(syntax, "name", syntax) or "no transfer syntax"
        raise InputError(
            f"{path}: pixels can't be decoded ({name}: {first_line(error)[:160]}); "
            "fetch the file again or decompress it (gdcmconv --raw)"
        ) from error


def _decoded(dataset: Any, preferred: str | None) -> Iterator[npt.NDArray[Any]]:
    """The frames by the preferred decoder and, from the first that it fails at, by any that can."""
    done = 0
    if preferred is not None:
        try:
            for frame in iter_pixels(dataset, decoding_plugin=preferred):
                yield frame
                done += 1
        except Exception:  # the others are to say what is wrong
            frames = int(dataset.get("NumberOfFrames") or 1)
            yield from iter_pixels(dataset, indices=range(done, frames))
        return
    yield from iter_pixels(dataset)


def _uncompressed(little: bool | None, implicit: bool | None) -> str:
    if implicit:
        return str(pydicom.uid.ImplicitVRLittleEndian)
    return str(pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian)


def _frames_by_gdcm(dataset: Any, path: Path) -> Iterator[npt.NDArray[Any]]:
    import gdcm  # type: ignore[import-untyped]

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    with _silent_stderr():
        buffer = reader.GetImage().GetBuffer() if reader.Read() else ""
    dtype = np.int16 if int(dataset.PixelRepresentation) else np.uint16
    frames, rows, columns = int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns)
    stored = np.frombuffer(buffer.encode("utf-8", "surrogateescape"), dtype=dtype)
    if stored.size != frames * rows * columns:
        raise ValueError("the decoder gave no complete image")
    yield from stored.reshape(frames, rows, columns)


_STDERR = threading.Lock()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """GDCM tries an 8-bit decoder first, whose C code complains of 12 bits on the process's standard error."""
    with _STDERR:  # two threads at once would leave it silent for good
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
