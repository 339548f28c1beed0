"""What a batch makes of DICOM that is damaged, still arriving or not straight: never a mask that says nothing of it."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom_factory as factory
import nibabel as nib
import numpy as np
import pydicom
import pytest

from radseg.pipelines.io.dicom import ct_series, ct_stack
from radseg.pipelines.segment import Batch, segment

HU = np.random.default_rng(0).integers(-200, 300, (24, 20, 12)).astype(np.int16)


@pytest.fixture
def run(small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path) -> Callable[[], Batch]:
    """Segments what is IN into OUT with the small network."""
    options = {"weights": str(small_weights["spine"]), "progress": False, **small["spine"]}
    return lambda: segment("spine", tmp_path / "IN", tmp_path / "OUT", **options)


def series(folder: Path, uid: str = "1.2.3", **options: Any) -> Path:
    """A series of files without a suffix, as on many CDs."""
    return Path(factory.write_series(folder, HU, uid=uid, names="IM{:04d}".format, **options))


def warnings_of(batch: Batch) -> list[str]:
    """What the only case's statistics warn of, which is what its line in the manifest and the batch say too.

    Flags, which come first, and what can't be measured are left out: a series of a few pixels isn't a patient.
    """
    (name,) = batch.done
    whole = json.loads((batch.output_dir / name / "statistics.json").read_text())
    statistics, flags = whole["warnings"], whole["flags"]
    assert statistics[: len(flags)] == flags
    lines = [json.loads(line) for line in (batch.output_dir / "manifest.jsonl").read_text().splitlines()]
    (told,) = [line["warnings"] for line in lines if line.get("case") == name]
    assert statistics == told == batch.warnings.get(name, [])
    return [str(warning) for warning in statistics[len(flags) :] if "isn't measured" not in warning]


@pytest.mark.parametrize("behind", ["SeriesInstanceUID", "Rows", "PixelData"])
def test_a_series_with_a_cut_off_file_is_refused_by_its_name_and_its_neighbour_done(
    behind: str, run: Callable[[], Batch], tmp_path: Path
) -> None:
    file = series(tmp_path / "IN" / "a") / "IM0005"
    series(tmp_path / "IN" / "b", "1.2.4")
    content, tag = file.read_bytes(), pydicom.tag.Tag(behind)
    file.write_bytes(content[: content.index(struct.pack("<HH", tag.group, tag.element)) + 40])
    batch = run()
    ((source, reason),) = batch.refused.items()
    assert source == str(tmp_path / "IN" / "a")
    assert "IM0005" in reason
    assert [batch.sources[name].name for name in batch.done] == ["b"]
    assert warnings_of(batch) == []


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4000, b"<html>", None], ids=["empty", "zeros", "no DICOM", "cut off before its series"]
)
@pytest.mark.parametrize("number", [5, 11], ids=["in the middle", "at the end"])
def test_a_slice_that_nothing_can_be_read_of_is_told_and_the_case_carries_a_warning(
    content: bytes | None, number: int, run: Callable[[], Batch], tmp_path: Path
) -> None:
    file = series(tmp_path / "IN") / f"IM{number:04d}"
    file.write_bytes(file.read_bytes()[:340] if content is None else content)
    batch = run()
    assert "1 unreadable file in its folder: slices may be missing" in warnings_of(batch)
    ((source, reason),) = batch.refused.items()
    assert file.name in f"{source}: {reason}"


def test_files_that_never_were_slices_raise_no_doubt(run: Callable[[], Batch], tmp_path: Path) -> None:
    folder = series(tmp_path / "IN")
    for name in ("README", "VERSION", "notes.txt", "study.json", "DICOMDIR"):
        (folder / name).write_text("nothing to see")
    batch = run()
    assert warnings_of(batch) == []
    assert batch.refused == {}


@pytest.mark.parametrize("what", ["another slice", "more of a slice"])
def test_a_series_that_grows_while_it_is_read_fails_and_is_done_when_it_is_whole(
    what: str, run: Callable[[], Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = series(tmp_path / "IN")
    late = folder / "IM0011"
    whole = late.read_bytes()
    if what == "another slice":
        late.unlink()
    else:
        late.write_bytes(whole + b"\0\0")

    def decode(*arguments: Any) -> Any:
        late.write_bytes(whole)
        return ct_stack.decode_stack(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ct_series, "decode_stack", decode)
        batch = run()
    ((name, reason),) = batch.failed.items()
    assert "run again" in reason
    assert not (batch.output_dir / name).exists()
    again = run()
    assert again.done == [name]
    assert nib.load(again.output_dir / name / "mask.nii.gz").shape == HU.shape


def test_what_comes_to_the_folder_and_is_of_another_series_does_not_hold_a_case_up(
    run: Callable[[], Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = series(tmp_path / "IN")
    shutil.copytree(series(tmp_path / "other", "1.2.4"), tmp_path / "later")

    def decode(*arguments: Any) -> Any:
        for file in (tmp_path / "later").iterdir():
            file.rename(folder / f"later{file.name}")
        (folder / "note.txt").write_text("beside")
        return ct_stack.decode_stack(*arguments)

    monkeypatch.setattr(ct_series, "decode_stack", decode)
    assert len(run().done) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skip": [5]}, "made up from the neighbours"),
        ({"shift": (0.0, 0.7, 0.0)}, "gantry tilt of"),
        ({"change": lambda k, dataset: factory.place(dataset, (10, -20, 30 + 2.5 * k + 1.3 * (k > 7)))}, "resampled"),
    ],
    ids=["a slice missing", "a tilted gantry", "uneven steps"],
)
def test_a_mask_of_an_interpolated_image_says_so(
    options: dict[str, Any], said: str, run: Callable[[], Batch], tmp_path: Path
) -> None:
    series(tmp_path / "IN", **options)
    assert [warning for warning in warnings_of(run()) if said in warning] != []
