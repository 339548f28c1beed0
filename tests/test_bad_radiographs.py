"""Bad X-rays: one clear line, the right exit code, nothing half-written."""

import json
import resource
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[1] / "sample_data"
PELVIS = SAMPLES / "pelvis_xray"


@pytest.fixture
def segment(
    radseg: Callable[..., Any], small_weights: dict[str, Path], small_options: Callable[..., list[str]], tmp_path: Path
) -> Callable[..., Any]:
    """Segments pelvic X-rays into OUT and checks that there is no traceback and no half-written case."""

    def run(*inputs: Path) -> Any:
        out = tmp_path / "OUT"
        options = ["--weights", small_weights["pelvis_xray"], *small_options("pelvis_xray")]
        ended = radseg("segment", "pelvis_xray", *inputs, "-o", out, *options)
        assert "Traceback" not in ended.err + ended.out
        if out.is_dir():
            assert not [path for path in out.iterdir() if path.name.endswith((".part", ".old"))]
            for folder in (path for path in out.iterdir() if path.is_dir()):
                assert {file.name for file in folder.iterdir()} == {"mask.png", "preview.png", "statistics.json"}
        return ended

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A copy of a sample X-ray."""
    return Path(shutil.copy(PELVIS / "imagesTr" / "pelvis10.png", tmp_path / "picture.png"))


@pytest.fixture
def dx(tmp_path: Path) -> Path:
    """A copy of a sample DX file."""
    return Path(shutil.copy(PELVIS / "dicom" / "pelvis10.dcm", tmp_path / "dx.dcm"))


def _only_line(ended: Any) -> str:
    """The one line that is said of the file, after a look that the exit code says that none was usable."""
    assert ended.code == 1
    lines = [line for line in ended.err.splitlines() if line.startswith(("failed", "refused", "error"))]
    about = [line for line in lines if not line.startswith("error: no usable image")]
    assert len(about) == 1, ended.err
    return str(about[0])


@pytest.mark.parametrize("kept", [0.5, 0.99], ids=["half", "all but the end"])
def test_a_truncated_png(segment: Callable[..., Any], picture: Path, kept: float) -> None:
    picture.write_bytes(picture.read_bytes()[: int(picture.stat().st_size * kept)])
    line = _only_line(segment(picture))
    assert "picture.png" in line


def test_a_png_with_a_flipped_byte(segment: Callable[..., Any], picture: Path) -> None:
    raw = bytearray(picture.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    picture.write_bytes(raw)
    line = _only_line(segment(picture))
    assert "picture.png" in line


def test_an_all_black_image(segment: Callable[..., Any], picture: Path) -> None:
    Image.fromarray(np.zeros((60, 50), np.uint8)).save(picture)
    line = _only_line(segment(picture))
    assert "picture.png" in line
    assert "constant image" in line


def test_a_picture_of_20_000_by_20_000_pixels_is_refused_before_it_takes_memory(
    segment: Callable[..., Any], picture: Path
) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes(20_001 * 2_000), 9)
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = _only_line(segment(picture))
    assert "picture.png" in line
    assert "20000" in line
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB; the pixels alone are 400,000


def test_dx_without_pixel_data(segment: Callable[..., Any], dx: Path) -> None:
    dataset = pydicom.dcmread(dx)
    del dataset.PixelData
    dataset.save_as(dx)
    line = _only_line(segment(dx))
    assert "dx.dcm" in line
    assert "PixelData" in line


def test_an_unknown_photometric_interpretation(segment: Callable[..., Any], dx: Path) -> None:
    dataset = pydicom.dcmread(dx)
    dataset.PhotometricInterpretation = "HSV"
    dataset.save_as(dx)
    line = _only_line(segment(dx))
    assert "dx.dcm" in line
    assert "HSV" in line


def test_a_ct_given_to_an_x_ray_bundle_is_refused_by_name(segment: Callable[..., Any]) -> None:
    ended = segment(SAMPLES / "spine" / "dicom" / "spine06")
    assert ended.code == 1
    assert "CT" in ended.err


def test_an_x_ray_given_to_a_ct_bundle_is_refused_by_name(
    radseg: Callable[..., Any], small_weights: dict[str, Path], small_options: Callable[..., list[str]], tmp_path: Path
) -> None:
    options = ["-o", tmp_path / "OUT", "--weights", small_weights["spine"], *small_options("spine")]
    ended = radseg("segment", "spine", PELVIS / "dicom", *options)
    assert ended.code == 1
    assert "DX" in ended.err


def test_one_name_in_two_folders_makes_two_cases(segment: Callable[..., Any], picture: Path, tmp_path: Path) -> None:
    for name in ("monday", "tuesday"):
        (tmp_path / "days" / name).mkdir(parents=True)
        shutil.copy(picture, tmp_path / "days" / name)
    ended = segment(tmp_path / "days")
    assert ended.code == 0
    masks = sorted((tmp_path / "OUT").glob("*/mask.png"))
    assert len(masks) == 2
    assert {mask.parent.name.split("-")[0] for mask in masks} == {"picture"}


def test_good_images_of_a_folder_are_done_beside_a_bad_one(
    segment: Callable[..., Any], picture: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(picture, folder / "good.png")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    ended = segment(folder)
    assert ended.code == 1
    assert (tmp_path / "OUT" / "good" / "mask.png").is_file()
    assert "bad.png" in ended.err


@pytest.mark.parametrize("values", [[0, 100, 200], [40, 255]], ids=str)
def test_a_mask_of_other_values_than_black_and_white(
    radseg: Callable[..., Any],
    small_options: Callable[..., list[str]],
    picture: Path,
    tmp_path: Path,
    values: list[int],
) -> None:
    with Image.open(picture) as image:
        width, height = image.size
    rows = np.asarray(values, np.uint8)[np.arange(height) * len(values) // height]
    Image.fromarray(np.repeat(rows[:, None], width, axis=1)).save(tmp_path / "mask.png")
    item = {"image": "picture.png", "label": "mask.png"}
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [item], "validation": [item]}))
    options = [*small_options("pelvis_xray"), "--max_epochs", "1", "-q"]
    ended = radseg("train", "pelvis_xray", "--dataset_dir", tmp_path, "-o", tmp_path / "run", *options)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "mask.png" in ended.err
    assert str(values[-2]) in ended.err
    assert not (tmp_path / "run").exists()


def test_a_mask_of_another_shape_than_its_image(
    radseg: Callable[..., Any], small_options: Callable[..., list[str]], picture: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.full((50, 100), 255, np.uint8)).save(tmp_path / "mask.png")
    item = {"image": "picture.png", "label": "mask.png"}
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [item], "validation": [item]}))
    ended = radseg(
        "train", "pelvis_xray", "--dataset_dir", tmp_path, "-o", tmp_path / "run", *small_options("pelvis_xray"), "-q"
    )
    assert ended.code == 1
    assert "differ in shape" in ended.err
