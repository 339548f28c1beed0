"""Voxels of a NIfTI file straight into the array that they are used from: mapped, as int16, or as float32."""

import mmap
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io.volume import Voxels

_CHUNK_BYTES = 1 << 22
_INT16 = np.iinfo(np.int16)
# numbers that int16 holds all of
_FIT_INT16 = (np.dtype(np.int16), np.dtype(np.int8), np.dtype(np.uint8))
# A private mapping counts as memory that may be needed, and one larger than the machine's is refused, unless this says
# not to count it (MAP_NORESERVE, which Python's mmap names from 3.13 on). Elsewhere than on Linux nothing is counted.
MAPPED_FROM_BYTES = 1 << 30
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


def read_voxels(file: BinaryIO, header: Any, shape: tuple[int, int, int], *, as_stored: bool) -> Voxels:
    """Scaled voxels, Fortran-ordered, read in pieces, so that there is never a second copy of them.

    Args:
        file: the file, unpacked, open at any place.
        header: nibabel's header of it.
        shape: (i, j, k); as many voxels as the header says.
        as_stored: whether int16 is wanted where it holds every value exactly (integers of 8 signed or unsigned, or of
            16 signed bits, slope 1, an integral intercept); else, and without it, the result is float32.

    Raises:
        EOFError: the file ends before the voxels do.
        OSError: it can't be read.
    """
    stored: np.dtype[Any] = header.get_data_dtype()
    slope, intercept = _scaling(header)
    file.seek(header.get_data_offset())
    if as_stored and stored.newbyteorder("=") in _FIT_INT16 and slope == 1 and intercept.is_integer():
        voxels: npt.NDArray[np.int16] = np.empty(int(np.prod(shape)), np.int16)
        _fill(file, voxels, stored)
        if _shifted(voxels, int(intercept)):
            return voxels.reshape(shape, order="F")
        scaled = voxels.astype(np.float32)
        scaled += np.float32(intercept)
        return scaled.reshape(shape, order="F")
    scaled = np.empty(int(np.prod(shape)), np.float32)
    _fill(file, scaled, stored)
    # in place: nibabel would pass through float64
    if slope != 1:
        scaled *= np.float32(slope)
    if intercept != 0:
        scaled += np.float32(intercept)
    return scaled.reshape(shape, order="F")


def mapped_voxels(path: Path, header: Any, shape: tuple[int, int, int]) -> Voxels | None:
    """The voxels of an uncompressed file as a view of the file itself; None when they need scaling or can't be mapped.

    Only large files are mapped: one that another program cuts short meanwhile ends the process.

    They take no memory of their own: the system reads what is looked at, and forgets it when memory is short. What is
    written to the array stays in this process.

    Raises:
        EOFError: the file ends before the voxels do.
    """
    stored: np.dtype[Any] = header.get_data_dtype()
    offset = header.get_data_offset()
    wanted = int(np.prod(shape)) * stored.itemsize
    if wanted < MAPPED_FROM_BYTES:
        return None
    plain = stored in (np.dtype(np.int16), np.dtype(np.float32)) and offset % stored.itemsize == 0
    if not plain or _scaling(header) != (1.0, 0.0):
        return None
    there = path.stat().st_size - offset
    if there < wanted:  # to look beyond a file's end kills the process
        raise _ended_early(wanted, there)
    with path.open("rb") as file:
        flags = mmap.MAP_PRIVATE | _NO_RESERVE
        try:
            held = mmap.mmap(file.fileno(), offset + wanted, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError:  # some file systems can't
            return None
    return np.ndarray(shape, stored, buffer=held, offset=offset, order="F")


def _scaling(header: Any) -> tuple[float, float]:
    slope, intercept = header.get_slope_inter()
    return (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)


def _fill(file: BinaryIO, voxels: Voxels, stored: np.dtype[Any]) -> None:
    """Read as many stored values as the flat array has elements, each turned to the array's type."""
    if stored == voxels.dtype:
        _read_into(file, voxels.data.cast("B"), 0)
        return
    piece = max(1, _CHUNK_BYTES // stored.itemsize)
    buffer = np.empty(min(piece, voxels.size), stored)
    for start in range(0, voxels.size, piece):
        part = buffer[: voxels.size - start]
        _read_into(file, part.view(np.uint8).data, start * stored.itemsize)
        voxels[start : start + part.size] = part


def _read_into(file: BinaryIO, memory: memoryview, before: int) -> None:
    read = 0
    while read < len(memory):
        count = file.readinto(memory[read : read + _CHUNK_BYTES])  # type: ignore[attr-defined]
        if not count:
            raise _ended_early(before + len(memory), before + read)
        read += count


def _ended_early(wanted: int, there: int) -> EOFError:
    return EOFError(f"expected {wanted} bytes of voxels, got {max(0, there)}")


def _shifted(voxels: npt.NDArray[np.int16], intercept: int) -> bool:
    """Add the intercept in place, where every sum fits; returns whether it did."""
    if intercept == 0:
        return True
    sums = (intercept, int(voxels.min()) + intercept, int(voxels.max()) + intercept)
    if min(sums) < _INT16.min or max(sums) > _INT16.max:
        return False
    voxels += np.int16(intercept)
    return True
