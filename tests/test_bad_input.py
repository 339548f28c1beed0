"""Bad input: one clear line, the right exit code, nothing half-written."""

import gzip
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from untrained import untrained

ROOT = Path(__file__).parents[1]
SPINE = ROOT / "sample_data" / "spine"
LUNG = ROOT / "sample_data" / "lung_ct"
SMALL_SPINE = ["--network_def#features", "[4,8,16,32,64]", "--roi_size", "[32,32,32]", "--spacing_mm", "[3.0,3.0,3.0]"]


@pytest.fixture
def segment(radseg: Callable[..., Any], small_weights: dict[str, Path], tmp_path: Path) -> Callable[..., Any]:
    """Segments with the small spine network into OUT and checks that no traceback and nothing half-written is left."""

    def run(*inputs: Path, options: tuple[str, ...] = ()) -> Any:
        out = tmp_path / "OUT"
        ended = radseg(
            "segment", "spine", *inputs, "-o", out, "--weights", small_weights["spine"], *SMALL_SPINE, *options
        )
        assert "Traceback" not in ended.err + ended.out
        if out.is_dir():
            assert not [path for path in out.iterdir() if path.name.endswith((".part", ".old"))]
            for folder in (path for path in out.iterdir() if path.is_dir()):
                assert {file.name for file in folder.iterdir()} == {"mask.nii.gz", "preview.png", "statistics.json"}
        return ended

    return run


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A copy of a sample DICOM series."""
    shutil.copytree(SPINE / "dicom" / "spine06", tmp_path / "series")
    return tmp_path / "series"


def _edit(file: Path, **attributes: Any) -> None:
    dataset = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(file)


def _in_slice_order(series: Path) -> list[Path]:
    return sorted(series.glob("*.dcm"), key=lambda file: float(pydicom.dcmread(file).ImagePositionPatient[2]))


def _nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(array, np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else affine), path)
    return path


def _ct(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)


def test_an_empty_folder(segment: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = segment(tmp_path / "empty")
    assert ended.code == 1
    assert "empty" in ended.err
    assert "no usable image" in ended.err


def test_a_folder_without_images(segment: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "letter.txt").write_text("no image")
    ended = segment(tmp_path / "texts")
    assert ended.code == 1
    assert "no DICOM series" in ended.err


def test_a_path_that_isnt_there(segment: Callable[..., Any], tmp_path: Path) -> None:
    ended = segment(tmp_path / "nowhere")
    assert ended.code == 1
    assert "nowhere: no such file or folder" in ended.err


def test_a_truncated_nifti(segment: Callable[..., Any], tmp_path: Path) -> None:
    whole = (SPINE / "imagesTr" / "spine01.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    ended = segment(tmp_path / "cut.nii.gz", SPINE / "imagesTr" / "spine02.nii.gz")
    assert ended.code == 1
    assert "cut.nii.gz" in ended.err
    assert "truncated" in ended.err
    assert (tmp_path / "OUT" / "spine02" / "mask.nii.gz").is_file()


def test_dicom_without_pixel_data(segment: Callable[..., Any], series: Path) -> None:
    for file in series.glob("*.dcm"):
        _edit(file, PixelData=None)
    ended = segment(series)
    assert ended.code == 1
    assert "PixelData" in ended.err


def test_mixed_orientations(segment: Callable[..., Any], series: Path) -> None:
    for file in _in_slice_order(series)[::2]:
        _edit(file, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    ended = segment(series)
    assert ended.code == 1
    assert "orientation" in ended.err.lower()


@pytest.mark.parametrize(
    "mark",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "ImageType": ["DERIVED", "SECONDARY"]},
    ],
    ids=["scout", "secondary capture"],
)
def test_a_scout_or_screenshot_among_the_slices_is_set_aside(
    segment: Callable[..., Any], series: Path, mark: dict[str, Any]
) -> None:
    extra = series / "extra.dcm"
    shutil.copy(_in_slice_order(series)[0], extra)
    _edit(extra, SOPInstanceUID="2.25.7", **mark)
    ended = segment(series)
    assert ended.code == 0
    assert "refused" in ended.err


def test_a_missing_slice(segment: Callable[..., Any], series: Path) -> None:
    files = _in_slice_order(series)
    files[len(files) // 2].unlink()
    assert segment(series).code == 0


def test_many_missing_slices(segment: Callable[..., Any], series: Path) -> None:
    for file in _in_slice_order(series)[4:8]:
        file.unlink()
    ended = segment(series)
    assert ended.code == 1
    assert "missing" in ended.err


def test_a_single_slice_for_a_3d_bundle_as_nifti(segment: Callable[..., Any], tmp_path: Path) -> None:
    ended = segment(_nifti(tmp_path / "thin.nii.gz", _ct(40, 40, 1)))
    assert ended.code == 1
    assert "single slice" in ended.err
    assert not (tmp_path / "OUT" / "thin").exists()


def test_a_single_slice_for_a_3d_bundle(segment: Callable[..., Any], series: Path) -> None:
    for file in _in_slice_order(series)[1:]:
        file.unlink()
    ended = segment(series)
    assert ended.code == 1
    assert "single slice" in ended.err


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((20, 20, 20), np.nan, np.float32), "NaN"),
        (np.zeros((20, 20, 20), np.int16), "constant"),
        (_ct(20, 20, 20, 3), "4-D|4 axes|four"),
    ],
    ids=["NaN", "constant", "4-D"],
)
def test_voxels_that_are_no_ct(segment: Callable[..., Any], tmp_path: Path, array: np.ndarray, message: str) -> None:
    ended = segment(_nifti(tmp_path / "odd.nii.gz", array))
    assert ended.code == 1
    assert any(word in ended.err for word in message.split("|")), ended.err
    assert "odd.nii.gz" in ended.err


def test_a_header_that_claims_more_than_the_file_holds(segment: Callable[..., Any], tmp_path: Path) -> None:
    file = _nifti(tmp_path / "huge.nii", _ct(20, 20, 20))
    raw = bytearray(file.read_bytes())
    raw[42:48] = np.full(3, 32000, "<i2").tobytes()  # dim[1:4] of the header
    file.write_bytes(bytes(raw))
    (tmp_path / "huger.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    ended = segment(file, tmp_path / "huger.nii.gz")
    assert ended.code == 1
    assert ended.err.count("the header claims 65536000000000 bytes") == 2


def test_dicom_that_claims_more_than_it_holds(segment: Callable[..., Any], series: Path) -> None:
    for file in series.glob("*.dcm"):
        _edit(file, Rows=65535, Columns=65535)
    ended = segment(series)
    assert ended.code == 1
    assert "MemoryError" not in ended.err


def test_an_rgb_nifti(segment: Callable[..., Any], tmp_path: Path) -> None:
    rgb = np.zeros((20, 20, 20), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii.gz")
    ended = segment(tmp_path / "rgb.nii.gz")
    assert ended.code == 1
    assert "RGB" in ended.err


@pytest.mark.parametrize("zoom", [0.0, -2.0])
def test_zero_or_negative_spacing(segment: Callable[..., Any], tmp_path: Path, zoom: float) -> None:
    file = _nifti(tmp_path / "spacing.nii.gz", _ct(20, 20, 20))
    raw = bytearray(gzip.decompress(file.read_bytes()))
    raw[80:92] = np.array([zoom, 3, 3], "<f4").tobytes()  # pixdim[1:4] of the header
    if zoom == 0:
        raw[252:256] = np.zeros(2, "<i2").tobytes()  # no sform or qform to fall back to
    file.write_bytes(gzip.compress(bytes(raw)))
    ended = segment(file)
    assert ended.code == 1
    assert "spacing" in ended.err


def test_label_and_image_of_different_shape(radseg: Callable[..., Any], tmp_path: Path) -> None:
    _nifti(tmp_path / "image.nii.gz", _ct(20, 20, 20))
    _nifti(tmp_path / "label.nii.gz", np.ones((20, 20, 19), np.uint8))
    item = {"image": "image.nii.gz", "label": "label.nii.gz"}
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [item], "validation": [item]}))
    ended = radseg("train", "spine", "--dataset_dir", tmp_path, "-o", tmp_path / "run", *SMALL_SPINE)
    assert ended.code == 1
    assert "differ in shape" in ended.err
    assert "label.nii.gz" in ended.err
    assert radseg("data", "check", tmp_path).code == 1


def test_a_datalist_naming_a_missing_file(radseg: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}]}))
    ended = radseg("train", "spine", "--dataset_dir", tmp_path, "-o", tmp_path / "run")
    assert ended.code == 1
    assert "a.nii.gz doesn't exist" in ended.err


def test_an_unknown_bundle(radseg: Callable[..., Any], tmp_path: Path) -> None:
    ended = radseg("segment", "lungct", SPINE, "-o", tmp_path / "OUT")
    assert ended.code == 2
    assert "did you mean 'lung_ct'" in ended.err


def test_a_misspelt_override(segment: Callable[..., Any]) -> None:
    ended = segment(SPINE / "imagesTr", options=("--overlp", "0.25"))
    assert ended.code == 2
    assert "did you mean --overlap?" in ended.err


def test_weights_whose_sha256_differs(
    radseg: Callable[..., Any], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copy(small_weights["spine"], tmp_path / "model.pt")
    (tmp_path / "model.pt.sha256").write_text("0" * 64)
    ended = radseg("segment", "spine", SPINE, "-o", tmp_path / "OUT", "--weights", tmp_path / "model.pt", *SMALL_SPINE)
    assert ended.code == 2
    assert "sha256" in ended.err
    assert not (tmp_path / "OUT").exists()


def test_a_bundle_without_weights(radseg: Callable[..., Any], tmp_path: Path) -> None:
    bundle = untrained("spine", tmp_path)
    ended = radseg("segment", bundle, SPINE, "-o", tmp_path / "OUT", "--trust-config")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "radseg train spine" in ended.err


def test_an_output_folder_that_cant_be_written(segment: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "OUT").write_text("a file where the folder should be")
    ended = segment(SPINE / "imagesTr" / "spine01.nii.gz")
    assert ended.code == 2
    assert "can't be written" in ended.err
    assert (tmp_path / "OUT").read_text() == "a file where the folder should be"


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow past 30 kB, as on a disk that is full."""
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_fills_up(segment: Callable[..., Any], tmp_path: Path) -> None:
    ended = segment(SPINE / "imagesTr" / "spine01.nii.gz")
    assert ended.code == 1
    assert "can't be written" in ended.err
    assert {path.name for path in (tmp_path / "OUT").iterdir()} == {"manifest.jsonl", "summary.csv", "index.html"}


def test_an_output_that_exists(segment: Callable[..., Any], tmp_path: Path) -> None:
    precious = tmp_path / "OUT" / "spine01"
    precious.mkdir(parents=True)
    (precious / "mask.nii.gz").write_text("precious")
    (precious / "preview.png").touch()
    (precious / "statistics.json").write_text("{}")
    ended = segment(SPINE / "imagesTr" / "spine01.nii.gz")
    assert ended.code == 1
    assert "use --overwrite" in ended.err
    assert (precious / "mask.nii.gz").read_text() == "precious"
    assert segment(SPINE / "imagesTr" / "spine01.nii.gz", options=("--overwrite",)).code == 0
    assert (precious / "mask.nii.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_weights_of_another_network(radseg: Callable[..., Any], small_weights: dict[str, Path], tmp_path: Path) -> None:
    ended = radseg("segment", "spine", SPINE, "-o", tmp_path / "OUT", "--weights", small_weights["lung_ct"])
    assert ended.code == 2
    assert "weights of another network" in ended.err
    assert torch.load(small_weights["lung_ct"], weights_only=True)
