"""VTK surfaces: the same triangles from every form of the legacy format; a damaged file is one line."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.simulate.read_surface import read_surface

VERTICES = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10.5]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def ascii_file(faces: np.ndarray = FACES, version: str = "4.0") -> bytes:
    points = " ".join(f"{value:g}" for value in VERTICES.ravel())
    if version == "5.1":
        offsets = " ".join(str(3 * number) for number in range(len(faces) + 1))
        corners = " ".join(map(str, faces.ravel()))
        cells = f"POLYGONS {len(faces) + 1} {faces.size}\nOFFSETS vtktypeint64\n{offsets}\n"
        cells += f"CONNECTIVITY vtktypeint64\n{corners}\n"
    else:
        cells = f"POLYGONS {len(faces)} {faces.size + len(faces)}\n"
        cells += "".join(f"{len(face)} {' '.join(map(str, face))}\n" for face in faces)
    head = f"# vtk DataFile Version {version}\nmade for a test\nASCII\nDATASET POLYDATA\n"
    return f"{head}POINTS {len(VERTICES)} float\n{points}\n\n{cells}".encode()


def binary_file() -> bytes:
    head = b"# vtk DataFile Version 3.0\nmade for a test\nBINARY\nDATASET POLYDATA\n"
    polygons = np.column_stack([np.full(4, 3), FACES]).astype(">i4").tobytes()
    return b"".join(
        [head, b"POINTS 4 double\n", VERTICES.astype(">f8").tobytes(), b"\nPOLYGONS 4 16\n", polygons, b"\n"]
    )


FORMS = {
    "ascii": ascii_file(),
    "ascii 5.1": ascii_file(version="5.1"),
    "binary": binary_file(),
    "gzip": gzip.compress(ascii_file()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_surface(tmp_path: Path, form: str) -> None:
    file = tmp_path / "surface.vtk"
    file.write_bytes(FORMS[form])
    vertices, faces = read_surface(file)
    assert np.array_equal(vertices, VERTICES)
    assert np.array_equal(faces, FACES)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"solid stl", "not a legacy VTK file"),
        (ascii_file()[:120], "cut off"),
        (binary_file()[:150], "cut off"),
        (gzip.compress(ascii_file(), mtime=0)[:60], "damaged or cut-off"),
        (ascii_file().replace(b"POLYDATA", b"STRUCTURED_GRID"), "no PolyData"),
        (ascii_file(np.array([[0, 1, 2, 3]])), "aren't triangles"),
        (ascii_file(np.array([[0, 1, 9]])), "a vertex that isn't there"),
        (ascii_file().replace(b"10.5", b"nan"), "NaN"),
        (ascii_file().replace(b"10.5", b"ten"), "not a usable VTK surface"),
        (ascii_file().replace(b"POINTS 4", b"POINTS 999999999999"), "claims"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "hip.vtk"
    file.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(says)) as refused:
        read_surface(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_surface(tmp_path / "gone.vtk")


@pytest.mark.parametrize("form", ["ascii", "gzip"])
def test_a_file_that_unpacks_to_more_than_a_bone_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    file = tmp_path / "surface.vtk.gz"
    file.write_bytes(FORMS[form])
    monkeypatch.setattr("radseg.pipelines.simulate.read_surface._MOST_BYTES", len(FORMS["ascii"]) - 1)
    with pytest.raises(InputError, match="too large for the surface of a bone"):
        read_surface(file)
    monkeypatch.setattr("radseg.pipelines.simulate.read_surface._MOST_BYTES", len(FORMS["ascii"]))
    assert len(read_surface(file)[1]) == len(FACES)
