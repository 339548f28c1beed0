"""Reads a triangle surface from a legacy VTK PolyData file (.vtk or .vtk.gz, ASCII or binary)."""

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError

_KINDS = {"float": ">f4", "double": ">f8", "int": ">i4", "long": ">i8", "vtktypeint64": ">i8", "vtktypeint32": ">i4"}
_MOST_NUMBERS = 10_000_000
_MOST_BYTES = 256 << 20  # unpacked: a bone has some ten thousand triangles, a few MB


def read_surface(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Read a surface of triangles; what else the file says about it is left out.

    Source: VTK User's Guide, "VTK File Formats", simple legacy formats 2.0 to 5.1.

    Returns:
        Vertices (n, 3), in the file's own coordinates, and faces (m, 3), indices of their corners.

    Raises:
        InputError: not there, cut off, too large, no PolyData, or polygons that aren't triangles.
    """
    try:
        content = _unpacked(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give a .vtk or .vtk.gz surface") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged or cut-off file ({error}); copy or download it again") from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: more than {_MOST_BYTES >> 20} MB, too large for the surface of a bone; simplify it")
    if not content.startswith(b"# vtk DataFile Version"):
        raise InputError(f"{path}: not a legacy VTK file; save the surface as .vtk PolyData")
    try:
        vertices, faces = _parsed(io.BytesIO(content))
    except IndexError as error:
        raise InputError(f"{path}: the file is cut off; copy or download it again") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a usable VTK surface ({error}); save it as PolyData of triangles") from error
    if not np.isfinite(vertices).all():
        raise InputError(f"{path}: holds NaN or infinite coordinates; export the surface again")
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise InputError(f"{path}: a triangle names a vertex that isn't there; export the surface again")
    return vertices, faces


def _unpacked(path: Path) -> bytes:
    """The file's content, or its beginning where that is too much."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            return file.read(_MOST_BYTES + 1)
        with gzip.open(file) as stream:
            return stream.read(_MOST_BYTES + 1)


def _parsed(file: BinaryIO) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    version = float(file.readline().split()[-1])
    file.readline()  # the title
    form = file.readline().strip().upper()
    if form not in (b"ASCII", b"BINARY"):
        raise ValueError(f"neither ASCII nor BINARY but {form[:20]!r}")
    binary = form == b"BINARY"
    if file.readline().split() != [b"DATASET", b"POLYDATA"]:
        raise ValueError("no PolyData")
    vertices: npt.NDArray[np.float64] | None = None
    while line := file.readline():
        words = line.decode("ascii", "replace").split()
        if not words:
            continue
        if words[0].upper() == "POINTS":
            vertices = _numbers(file, 3 * int(words[1]), words[2], binary).reshape(-1, 3)
        elif words[0].upper() == "POLYGONS" and vertices is not None:
            return vertices, _triangles(file, int(words[1]), int(words[2]), version, binary)
        elif words[0].upper() == "TRIANGLE_STRIPS":
            raise ValueError("triangle strips instead of triangles")
    raise ValueError("no POINTS followed by POLYGONS")


def _triangles(file: BinaryIO, first: int, second: int, version: float, binary: bool) -> npt.NDArray[np.int64]:
    if version >= 5:  # offsets and corners stand apart
        corners_each = np.diff(_named(file, "OFFSETS", first, binary))
        corners = _named(file, "CONNECTIVITY", second, binary)
        if not (corners_each == 3).all() or 3 * len(corners_each) != len(corners):
            raise ValueError("polygons that aren't triangles")
        return corners.reshape(-1, 3)
    if second != 4 * first:
        raise ValueError("polygons that aren't triangles")
    polygons = _numbers(file, second, "int", binary).astype(np.int64).reshape(-1, 4)
    if not (polygons[:, 0] == 3).all():
        raise ValueError("polygons that aren't triangles")
    return polygons[:, 1:]


def _named(file: BinaryIO, name: str, count: int, binary: bool) -> npt.NDArray[np.int64]:
    words = file.readline().decode("ascii", "replace").split()
    while not words:
        words = file.readline().decode("ascii", "replace").split()
    if words[0].upper() != name:
        raise ValueError(f"{words[0]} where {name} belongs")
    return _numbers(file, count, words[1], binary).astype(np.int64)


def _numbers(file: BinaryIO, count: int, kind: str, binary: bool) -> npt.NDArray[np.float64]:
    if not 0 <= count <= _MOST_NUMBERS:
        raise ValueError(f"claims {count} numbers")
    if binary:
        if kind.lower() not in _KINDS:
            raise ValueError(f"numbers of type {kind}")
        stored = np.dtype(_KINDS[kind.lower()])
        content = file.read(count * stored.itemsize)
        if len(content) < count * stored.itemsize:
            raise ValueError("the file is cut off")
        return np.frombuffer(content, stored).astype(np.float64)
    found: list[bytes] = []
    while len(found) < count:
        line = file.readline()
        if not line:
            raise ValueError("the file is cut off")
        found.extend(line.split())
    if len(found) > count:
        raise ValueError("more numbers than it claims")
    return np.array(found, dtype=np.float64)
