"""Damaged and hostile DICOM files never crash, hang or fill memory: they end in a volume or in one line.

Files are read by a process of its own, since decoders written in C may end the one that they run in.
"""

import io
import json
import selectors
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

CHILD = Path(__file__).parents[3] / "support" / "reading_process.py"
LONGEST_S = 60
MOST_GROWN_MB = 700
SYNTAXES = [
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    *(RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit, JPEGLosslessSV1),
]
ABSURD = [
    *(b"NaN ", b"1e308 ", b"-1e308", b"inf ", b"-5", b"abc ", b"", b"0 ", b"\0", b"9" * 400, b"1\\2\\3\\4\\5\\6\\7 "),
    *(b"\xff" * 8, b"\xff\xff", b"2147483648", b"1e-320", b"\\\\", b"\x80\xfe" * 9),
]
VRS = [b"US", b"SS", b"UL", b"IS", b"DS", b"FD", b"FL", b"SQ", b"UN", b"OB", b"OW", b"LO", b"UI", b"AT", b"OF", b"ZZ"]
SETTINGS = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


class Reader:
    """Hands files to the reading process and starts another where it died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None

    def __call__(self, content: bytes, modality: str = "CT") -> str:
        """How reading a file of this content ends, once the process has survived it in bounded time and memory."""
        file = self.folder / "fuzz.dcm"
        file.write_bytes(content)
        return self.read(file, modality)

    def read(self, path: Path, modality: str = "CT") -> str:
        if self.child is None or self.child.poll() is not None:
            command = [sys.executable, str(CHILD)]
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        stdin, stdout = self.child.stdin, self.child.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([modality, str(path)]).encode() + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(LONGEST_S):
                self.close()
                pytest.fail(f"reading {path} didn't end in {LONGEST_S} s")
        line = stdout.readline()
        assert line, f"reading {path} ended the process ({self.child.wait()})"
        ended, grown_mb = json.loads(line)
        assert grown_mb < MOST_GROWN_MB, f"reading took {grown_mb} MB"
        return str(ended)

    def close(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.communicate()
            self.child = None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(tmp_path_factory.mktemp("fuzz"))
    yield reader
    reader.close()


def is_told(ended: str) -> bool:
    """Whether reading ended in a volume, or in one line that names the file."""
    in_one_line = ended.startswith(("refused: ", "error: ")) and "\n" not in ended
    return ended == "volume" or (in_one_line and "fuzz.dcm" in ended)


def encoded(factory: Any, syntax: Any, folder: Path) -> bytes:
    """A good slice in a transfer syntax."""
    i, j = np.meshgrid(np.arange(40), np.arange(36), indexing="ij")
    hu = (40 * np.sin(i / 5) * np.cos(j / 7) * 10 - 200).astype(np.int16)
    dataset = factory.ct_slice(hu)
    factory.place(dataset, (10, 20, 30))
    if syntax == JPEGBaseline8Bit:
        from PIL import Image

        grey = io.BytesIO()
        Image.fromarray(((hu + 1000) // 8).astype(np.uint8).T).save(grey, "JPEG")
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = pydicom.encaps.encapsulate([grey.getvalue()])
    elif syntax == JPEGLosslessSV1:
        return by_gdcm(dataset, folder)
    elif syntax.is_encapsulated:
        dataset.compress(syntax)
    elif not syntax.is_little_endian:
        dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax.is_encapsulated:
        dataset["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return file.getvalue()


def by_gdcm(dataset: Any, folder: Path) -> bytes:
    """The dataset in lossless JPEG, which pydicom can't write."""
    import gdcm

    dataset.save_as(folder / "plain.dcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "jpeg.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (folder / "jpeg.dcm").read_bytes()


class Files(dict[Any, bytes]):
    """Good files by transfer syntax; hypothesis shows it when a test fails."""

    def __repr__(self) -> str:
        return "Files()"


@pytest.fixture(scope="module")
def good(factory: Any, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("good")
    return Files({syntax: encoded(factory, syntax, folder) for syntax in SYNTAXES})


def elements_of(content: bytes) -> tuple[bytes, list[bytes]]:
    """Preamble with meta information, and the elements of an explicit little-endian file as they are written."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    elements = []
    for element in dataset:
        written = DicomBytesIO()
        written.is_little_endian, written.is_implicit_VR = True, False
        write_data_element(written, element)
        elements.append(written.getvalue())
    return content[: len(content) - sum(map(len, elements))], elements


def resized(element: bytes, value: bytes, vr: bytes | None = None, length: int | None = None) -> bytes:
    """An element with another value, VR or claimed length."""
    vr = vr or element[4:6]
    length = len(value) if length is None else length
    if vr in (b"SQ", b"UN", b"OB", b"OW", b"OF"):
        return element[:4] + vr + b"\0\0" + (length & 0xFFFFFFFF).to_bytes(4, "little") + value
    return element[:4] + vr + (length & 0xFFFF).to_bytes(2, "little") + value


def value_of(element: bytes) -> bytes:
    return element[12:] if element[4:6] in (b"SQ", b"UN", b"OB", b"OW", b"OF") else element[8:]


def mutated(elements: list[bytes], operations: list[tuple[str, float, Any]]) -> list[bytes]:
    elements = list(elements)
    for kind, where, what in operations:
        index = int(where * len(elements)) % len(elements)
        element = elements[index]
        if kind == "drop" and len(elements) > 1:
            del elements[index]
        elif kind == "twice":
            elements.insert(index, element)
        elif kind == "value":
            elements[index] = resized(element, what)
        elif kind == "vr":
            elements[index] = resized(element, value_of(element), what)
        elif kind == "length":
            elements[index] = resized(element, value_of(element), None, what)
        elif kind == "nested":
            elements.insert(index, element[:4] + nest(what))
    return elements


def nest(depth: int) -> bytes:
    """VR, length and value of sequences in sequences of undefined length, never closed."""
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x08\x00\x40\x11"
    return b"SQ\0\0\xff\xff\xff\xff" + (item + b"SQ\0\0\xff\xff\xff\xff") * depth


FRACTION = st.floats(0, 1, exclude_max=True)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["drop", "twice"]), FRACTION, st.none()),
        st.tuples(st.just("value"), FRACTION, st.one_of(st.sampled_from(ABSURD), st.binary(max_size=12))),
        st.tuples(st.just("vr"), FRACTION, st.sampled_from(VRS)),
        st.tuples(st.just("length"), FRACTION, st.sampled_from([0, 1, 7, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 1 << 20])),
        st.tuples(st.just("nested"), FRACTION, st.sampled_from([1, 50, 3000])),
    ),
    min_size=1,
    max_size=4,
)
FLIPS = st.lists(st.tuples(FRACTION, st.integers(0, 255)), min_size=1, max_size=8)


def mutated_header(content: bytes, operations: list[tuple[str, float, Any]]) -> bytes:
    start, elements = elements_of(content)
    return start + b"".join(mutated(elements, operations))


def bytes_changed(content: bytes, flips: list[tuple[float, int]], kept: float) -> bytes:
    changed = bytearray(content[: max(132, int(len(content) * kept))])
    for where, byte in flips:
        changed[132 + int(where * (len(changed) - 132)) if len(changed) > 132 else 131] = byte
    return bytes(changed)


@settings(max_examples=500, **SETTINGS)
@given(operations=OPERATIONS, modality=st.sampled_from(["CT", "CT", "DX"]))
def test_a_mutated_header_ends_in_a_volume_or_in_one_line(reader, good, operations, modality):
    ended = reader(mutated_header(good[ExplicitVRLittleEndian], operations), modality)
    assert is_told(ended), ended


@settings(max_examples=500, **SETTINGS)
@given(syntax=st.sampled_from(SYNTAXES), flips=FLIPS, kept=st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.5]))
def test_changed_bytes_end_in_a_volume_or_in_one_line(reader, good, syntax, flips, kept):
    ended = reader(bytes_changed(good[syntax], flips, kept))
    assert is_told(ended), ended


@pytest.mark.long
@settings(max_examples=10_000, **SETTINGS)
@given(operations=OPERATIONS, modality=st.sampled_from(["CT", "DX"]))
def test_many_mutated_headers_end_in_a_volume_or_in_one_line(reader, good, operations, modality):
    ended = reader(mutated_header(good[ExplicitVRLittleEndian], operations), modality)
    assert is_told(ended), ended


@pytest.mark.long
@settings(max_examples=10_000, **SETTINGS)
@given(syntax=st.sampled_from(SYNTAXES), flips=FLIPS, kept=FRACTION)
def test_many_changed_bytes_end_in_a_volume_or_in_one_line(reader, good, syntax, flips, kept):
    ended = reader(bytes_changed(good[syntax], flips, kept))
    assert is_told(ended), ended


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_the_whole_file_is_read_and_no_part_of_it_is(reader, good, syntax):
    content = good[syntax]
    assert reader(content) == "volume"
    for kept in (0.999, 0.99, 0.9, 0.7, 0.5, 0.3):
        ended = reader(content[: int(len(content) * kept)])
        assert is_told(ended), ended
        assert ended != "volume", f"{kept} of the file was taken for the whole"


@pytest.mark.parametrize("syntax", SYNTAXES[4:], ids=lambda uid: uid.keyword)
def test_a_frame_cut_off_within_whole_fragments_is_no_image(reader, good, syntax):
    dataset = pydicom.dcmread(io.BytesIO(good[syntax]))
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    for kept in (len(frame) - 8, len(frame) // 2, 20, 2):
        dataset.PixelData = pydicom.encaps.encapsulate([frame[:kept]])
        file = io.BytesIO()
        dataset.save_as(file)
        ended = reader(file.getvalue())
        assert is_told(ended), ended
        assert ended != "volume"


@pytest.mark.parametrize(
    "offsets", [b"\xff\xff\xff\xff", b"\x08\0\0\0", b"\0\0\0\0\xff\xff\0\0", b"\0" * 4000, b"\1"], ids=len
)
def test_a_wrong_offset_table_ends_in_the_image_or_in_one_line(reader, good, offsets):
    dataset = pydicom.dcmread(io.BytesIO(good[JPEG2000Lossless]))
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    item = b"\xfe\xff\x00\xe0"
    dataset.PixelData = b"".join(item + len(part).to_bytes(4, "little") + part for part in (offsets, frame))
    file = io.BytesIO()
    dataset.save_as(file)
    ended = reader(file.getvalue())
    assert is_told(ended), ended
    assert reader(good[JPEG2000Lossless]) == "volume"


def test_a_kilobyte_that_claims_a_terabyte_is_refused_by_its_claim(reader, factory):
    dataset = factory.ct_slice(np.zeros((4, 4)))
    factory.place(dataset, (0, 0, 0))
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 60_000, 60_000, 1000
    for modality in ("CT", "DX"):
        dataset.Modality = modality
        file = io.BytesIO()
        dataset.save_as(file)
        assert len(file.getvalue()) < 1500
        ended = reader(file.getvalue(), modality)
        assert ended.startswith("refused: ")
    dataset.Modality = "CT"
    for frames in (2**31, 10**18, -3):
        dataset["NumberOfFrames"].value = frames
        file = io.BytesIO()
        dataset.save_as(file)
        assert reader(file.getvalue()).startswith("refused: ")


def test_a_deflate_bomb_does_not_go_off(reader, factory):
    file = io.BytesIO()
    dataset = factory.ct_slice(np.arange(16).reshape(4, 4))
    factory.place(dataset, (0, 0, 0))
    del dataset.PixelData
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(file)
    meta = file.getvalue()
    plain = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(plain)
    start, elements = elements_of(plain.getvalue())
    meta = start.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    meta = meta.replace(b"\2\0\x10\0UI\x14\0", b"\2\0\x10\0UI\x16\0")
    for bomb in (b"\xe0\x7f\x10\x00OW\0\0\0\0\0\xf0", b"\x09\0\x10\0OB\0\0\0\0\0\xf0"):
        squeeze = zlib.compressobj(1, wbits=-15)
        parts = [squeeze.compress(b"".join(elements) + bomb)]
        parts += [squeeze.compress(bytes(1 << 20)) for _ in range(300)]
        ended = reader(meta + b"".join(parts) + squeeze.flush())
        assert is_told(ended), ended
        assert ended != "volume"


def test_elements_of_gigabytes_and_endless_sequences_are_survived(reader, good):
    start, elements = elements_of(good[ExplicitVRLittleEndian])
    private = b"\x09\0\x10\0OB\0\0\xfe\xff\xff\xff"
    endless = b"\x09\0\x10\0OB\0\0\xff\xff\xff\xff"
    for strange in (private, endless, b"\x09\0\x10\0" + nest(20_000), b"\x08\0\x40\x11" + nest(20_000)):
        ended = reader(start + b"".join([*elements[:3], strange, *elements[3:]]))
        assert is_told(ended), ended
        assert ended != "volume"


def test_high_throughput_jpeg_2000_that_is_none_is_named(reader, good):
    content = good[JPEG2000Lossless].replace(b"1.2.840.10008.1.2.4.90", HTJ2KLossless.encode()[:22])
    ended = reader(content)
    assert is_told(ended), ended
    assert b"1.2.840.10008.1.2.4.20" in content
