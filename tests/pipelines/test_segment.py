"""A batch of images becomes a folder a case; run again, it does only what is missing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.segment import Batch, segment

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.fixture
def run(small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path) -> Callable[..., Batch]:
    """Segments into OUT with the small networks."""

    def run(bundle: str, *inputs: Path, **options: Any) -> Batch:
        settings = {"weights": str(small_weights[bundle]), "progress": False, **small[bundle], **options}
        return segment(bundle, list(inputs), tmp_path / "OUT", **settings)

    return run


def _mask(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(folder / "mask.nii.gz")
    return np.asarray(image.dataobj), image.affine


def _lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("bundle", ["spine", "lung_ct"])
def test_the_mask_lies_on_the_grid_of_its_image(bundle: str, run: Callable[..., Batch]) -> None:
    image = sorted((SAMPLES / bundle / "imagesTr").glob("*.nii.gz"))[3]
    batch = run(bundle, image)
    assert batch.ok
    mask, affine = _mask(batch.output_dir / batch.done[0])
    source = nib.load(image)
    assert mask.shape == source.shape
    assert mask.dtype == np.uint8
    assert np.allclose(affine, source.affine, atol=1e-5)
    assert mask.any()


@pytest.mark.parametrize("bundle", ["spine", "lung_ct"])
def test_a_dicom_series_and_its_nifti_twin_give_one_mask(bundle: str, run: Callable[..., Batch]) -> None:
    series = sorted((SAMPLES / bundle / "dicom").iterdir())[0]
    batch = run(bundle, series, SAMPLES / bundle / "imagesTr" / f"{series.name}.nii.gz")
    dicom, nifti = (_mask(batch.output_dir / name) for name in batch.done)
    assert np.array_equal(dicom[0], nifti[0])
    assert np.allclose(dicom[1], nifti[1], atol=1e-3)


@pytest.mark.parametrize(("bundle", "image"), [("lung_xray", "chest06_pa"), ("pelvis_xray", "pelvis10")])
def test_a_radiograph_as_png_and_as_dicom_gives_one_mask_of_its_size(
    bundle: str, image: str, run: Callable[..., Batch]
) -> None:
    png = SAMPLES / bundle / "imagesTr" / f"{image}.png"
    batch = run(bundle, png, SAMPLES / bundle / "dicom")
    assert len(batch.done) == 2
    with Image.open(png) as source, Image.open(batch.output_dir / image / "mask.png") as mask:
        assert mask.size == source.size
        pixels = np.asarray(mask)
    (dicom,) = (name for name in batch.done if name != image)
    with Image.open(batch.output_dir / dicom / "mask.png") as mask:
        assert np.array_equal(np.asarray(mask), pixels)
    assert set(np.unique(pixels)) == {0, 255}
    statistics = json.loads((batch.output_dir / dicom / "statistics.json").read_text())["labels"]
    (row,) = statistics.values()
    spacing_mm = float(pydicom.dcmread(next((SAMPLES / bundle / "dicom").iterdir())).ImagerPixelSpacing[0])
    assert row["area_mm2"] == pytest.approx((pixels > 0).sum() * spacing_mm**2, abs=0.1)
    assert any("detector" in note for note in batch.warnings[dicom])


def test_warnings_stand_in_the_statistics_the_manifest_and_the_batch(run: Callable[..., Batch]) -> None:
    batch = run("lung_xray", SAMPLES / "lung_xray" / "dicom")
    (case,) = batch.done
    statistics = json.loads((batch.output_dir / case / "statistics.json").read_text())
    assert any("magnified" in warning for warning in statistics["warnings"])
    assert statistics["warnings"] == _lines(batch.output_dir)[-1]["warnings"] == batch.warnings[case]


def test_results_among_the_inputs_are_no_images(run: Callable[..., Batch], tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "lung_xray" / "imagesTr" / "chest01_pa.png", tmp_path / "chest.png")
    first = run("lung_xray", tmp_path)
    assert first.done == ["chest"]
    shutil.move(tmp_path / "OUT", tmp_path / "earlier")
    assert run("lung_xray", tmp_path).done == ["chest"]


def test_a_dicom_case_carries_nothing_of_the_patient(run: Callable[..., Batch]) -> None:
    series = sorted((SAMPLES / "spine" / "dicom").iterdir())[0]
    header = pydicom.dcmread(next(series.glob("*.dcm")), stop_before_pixels=True)
    batch = run("spine", series)
    assert len(batch.done[0]) == 12
    folder = batch.output_dir / batch.done[0]
    written = (folder / "statistics.json").read_text() + str(nib.load(folder / "mask.nii.gz").header)
    written += (batch.output_dir / "manifest.jsonl").read_text()
    for secret in (
        str(header.PatientName),
        header.PatientID,
        header.SeriesInstanceUID,
        series.name,
        str(series.parent),
    ):
        assert secret not in written


def test_a_slice_as_png_and_inside_a_volume_gets_one_mask(run: Callable[..., Batch], tmp_path: Path) -> None:
    # the volume's HU, windowed by hand and turned as a reader sees it: rows to posterior, columns to the left
    image = nib.as_closest_canonical(nib.load(SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz"))
    volume = np.asarray(image.dataobj).astype(np.float64)
    position = volume.shape[2] // 2
    grey = np.clip((volume[..., position] + 1350) / 1500, 0, 1) * 255
    Image.fromarray(np.rint(grey).astype(np.uint8)[::-1, ::-1].T).save(tmp_path / "slice.png")
    batch = run("lung_ct", tmp_path / "slice.png", SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz")
    with Image.open(batch.output_dir / "slice" / "mask.png") as picture:
        from_png = np.asarray(picture) > 0
    inside = nib.as_closest_canonical(nib.load(batch.output_dir / "lung01" / "mask.nii.gz"))
    from_volume = np.asarray(inside.dataobj)[::-1, ::-1, position].T > 0
    assert from_png.any()
    assert (from_png != from_volume).mean() < 1e-3


def test_everything_of_a_case_is_in_its_folder(run: Callable[..., Batch]) -> None:
    batch = run("lung_ct", SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz")
    folder = batch.output_dir / "lung01"
    assert {file.name for file in folder.iterdir()} == {"mask.nii.gz", "preview.png", "statistics.json"}
    statistics = json.loads((folder / "statistics.json").read_text())
    mask, affine = _mask(folder)
    volume = mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
    assert statistics["labels"]["COVID-19 lesion"]["volume_ml"] == pytest.approx(volume, abs=1e-3)
    assert 0 < statistics["share_of_slices"] <= 1
    (line,) = _lines(batch.output_dir)
    assert line["status"] == "done"
    assert set(line["seconds"]) == {"read", "preprocess", "locate", "network", "restore", "write"}
    assert line["weights_sha256"] == statistics["weights_sha256"]


def test_lung_masks_give_the_share_of_lung(run: Callable[..., Batch], tmp_path: Path) -> None:
    image = nib.load(SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz")
    # untrained weights mark anything, and what lies outside the lungs has no share of them
    lung = np.asarray(image.dataobj) < 500
    (tmp_path / "lungs").mkdir()
    nib.save(nib.Nifti1Image(lung.astype(np.uint8), image.affine), tmp_path / "lungs" / "lung01.nii.gz")
    batch = run("lung_ct", image.get_filename(), lung_mask=str(tmp_path / "lungs"))
    mask, _ = _mask(batch.output_dir / "lung01")
    statistics = json.loads((batch.output_dir / "lung01" / "statistics.json").read_text())
    assert statistics["share_of_lung"] == pytest.approx((mask[lung] > 0).mean(), abs=1e-6)


def test_run_again_it_does_only_what_is_missing(run: Callable[..., Batch]) -> None:
    images = sorted((SAMPLES / "spine" / "imagesTr").glob("*.nii.gz"))[:3]
    assert run("spine", *images[:1]).done == ["spine01"]
    before = (run("spine", *images[:1]).output_dir / "spine01" / "mask.nii.gz").stat().st_mtime_ns
    batch = run("spine", *images)
    assert (batch.skipped, batch.done) == (["spine01"], ["spine02", "spine03"])
    assert (batch.output_dir / "spine01" / "mask.nii.gz").stat().st_mtime_ns == before
    assert [line["case"] for line in _lines(batch.output_dir)] == ["spine01", "spine02", "spine03"]


def test_a_run_killed_before_its_manifest_line_goes_on(run: Callable[..., Batch]) -> None:
    image = SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz"
    batch = run("spine", image)
    (batch.output_dir / "manifest.jsonl").write_text('{"case": "spi')
    (batch.output_dir / ".spine01.part").mkdir()
    again = run("spine", image)
    assert again.skipped == ["spine01"]
    assert json.loads((batch.output_dir / "manifest.jsonl").read_text().splitlines()[-1])["case"] == "spine01"


def test_other_settings_dont_pass_for_the_same_result(run: Callable[..., Batch]) -> None:
    image = SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz"
    run("spine", image)
    batch = run("spine", image, overlap=0.25)
    assert "use --overwrite" in batch.failed["spine01"]
    assert run("spine", image, overlap=0.25, overwrite=True).done == ["spine01"]


def test_a_result_that_is_whole_stands_in_the_overview_again_after_a_run_that_was_refused(
    run: Callable[..., Batch], tmp_path: Path
) -> None:
    image = SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz"
    run("spine", image)
    before = (tmp_path / "OUT" / "summary.csv").read_text()
    assert run("spine", image, overlap=0.25).failed
    assert "failed" in (tmp_path / "OUT" / "summary.csv").read_text()
    assert run("spine", image).skipped == ["spine01"]
    assert (tmp_path / "OUT" / "summary.csv").read_text() == before
    assert "0 failed" in (tmp_path / "OUT" / "index.html").read_text()


def test_a_result_that_somebody_took_away_is_made_again(run: Callable[..., Batch]) -> None:
    image = SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz"
    mask = run("spine", image).output_dir / "spine01" / "mask.nii.gz"
    mask.unlink()
    assert run("spine", image).done == ["spine01"]
    assert mask.is_file()


def test_a_doubtful_image_is_segmented_with_a_warning(run: Callable[..., Batch], tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(grey, np.diag([3.0, 3, 3, 1])), tmp_path / "grey.nii.gz")
    batch = run("spine", tmp_path / "grey.nii.gz")
    flag, note = (warning for warning in batch.warnings["grey"] if "HU" in warning)
    assert "the values don't look like HU" in flag
    assert "check that the values are HU" in note
    assert batch.sources["grey"] == tmp_path / "grey.nii.gz"


@pytest.mark.parametrize(
    "other", [{"preprocessing#transforms#3#upper_hu": 3000.0}, {"precision": "fast"}, {"labels": ["a", "b"]}]
)
def test_any_override_that_changes_the_recipe_counts(run: Callable[..., Batch], other: dict[str, Any]) -> None:
    image = SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz"
    run("spine", image)
    assert "use --overwrite" in run("spine", image, **other).failed["spine01"]
    assert run("spine", image, roi_size=(32, 32, 32)).skipped == ["spine01"]


def test_results_below_the_input_folder_arent_taken_for_images(
    small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copy(SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz", tmp_path)
    options: dict[str, Any] = {"weights": str(small_weights["spine"]), "progress": False, **small["spine"]}
    assert segment("spine", tmp_path, tmp_path / "masks", **options).done == ["spine01"]
    again = segment("spine", tmp_path, tmp_path / "masks", **options)
    assert (again.skipped, again.done, again.refused) == (["spine01"], [], {})


def test_one_bad_case_never_ends_a_batch(run: Callable[..., Batch], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(SAMPLES / "spine" / "imagesTr", folder)
    (folder / "spine02.nii.gz").write_bytes(b"not a nifti")
    batch = run("spine", folder)
    assert len(batch.done) == 5
    assert not batch.ok
    assert len([*batch.failed, *batch.refused]) == 1


def test_workers_give_the_same_masks_as_one(run: Callable[..., Batch], tmp_path: Path) -> None:
    images = SAMPLES / "spine" / "imagesTr"
    alone = run("spine", images)
    masks = {name: _mask(alone.output_dir / name)[0] for name in alone.done}
    shutil.rmtree(alone.output_dir)
    together = run("spine", images, workers=3)
    assert sorted(together.done) == sorted(masks)
    assert all(np.array_equal(_mask(together.output_dir / name)[0], masks[name]) for name in masks)


def test_one_series_can_be_picked(run: Callable[..., Batch]) -> None:
    series = sorted((SAMPLES / "spine" / "dicom").iterdir())[1]
    uid = str(pydicom.dcmread(next(series.glob("*.dcm")), stop_before_pixels=True).SeriesInstanceUID)
    batch = run("spine", SAMPLES / "spine" / "dicom", series=uid)
    assert len(batch.done) == 1


def test_mirror_images_and_folds_say_how_sure_the_mask_is(
    run: Callable[..., Batch], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    for fold in (0, 2):
        (tmp_path / f"fold_{fold}").mkdir()
        state = torch.load(small_weights["lung_ct"], weights_only=True)
        torch.save({name: value * (1 + fold / 50) for name, value in state.items()}, tmp_path / f"fold_{fold}/model.pt")
    image = SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz"
    batch = run("lung_ct", image, tta="flips", folds=[0, 2], weights=str(tmp_path))
    folder = batch.output_dir / "lung01"
    uncertainty = nib.load(folder / "uncertainty.nii.gz")
    assert uncertainty.shape == nib.load(image).shape
    values = uncertainty.get_fdata()
    assert 0 <= values.min() <= values.max() <= 1
    assert values.max() > 0
    mask, _ = _mask(folder)
    statistics = json.loads((folder / "statistics.json").read_text())
    assert statistics["confidence"] == pytest.approx(1 - values[mask > 0].mean(), abs=2e-3)
    (line,) = _lines(batch.output_dir)
    assert line["engine"]["members"] == 4
    with pytest.raises(WeightsError, match=r"fold_1/model\.pt"):
        run("lung_ct", image, folds=[0, 1], weights=str(tmp_path))


def test_a_picture_s_uncertainty_is_a_picture(run: Callable[..., Batch]) -> None:
    image = sorted((SAMPLES / "lung_xray" / "imagesTr").iterdir())[0]
    batch = run("lung_xray", image, tta="flips")
    folder = batch.output_dir / batch.done[0]
    with Image.open(folder / "uncertainty.png") as picture, Image.open(image) as source:
        assert picture.size == source.size
        assert np.asarray(picture).max() > 0


def test_the_manifest_says_what_was_run_and_on_what(run: Callable[..., Batch]) -> None:
    batch = run("spine", SAMPLES / "spine" / "imagesTr" / "spine06.nii.gz", locate=False, skip_air=False)
    (line,) = _lines(batch.output_dir)
    engine = line["engine"]
    assert (engine["runtime"], engine["precision"], engine["members"]) == ("openvino", "exact", 1)
    assert engine["windows_run"] == engine["windows"] > 1
    assert engine["located"] == engine["notes"] == []
    assert "locate" not in line["seconds"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"tta": "rotations"}, "use flips"),
        ({"runtime": "tensorrt"}, "no runtime 'tensorrt'"),
        ({"precision": "exakt"}, "did you mean 'exact'"),
        ({"folds": [1, 1]}, "different numbers"),
    ],
)
def test_what_the_engine_cannot_do_is_one_line(option: dict[str, Any], said: str, run: Callable[..., Batch]) -> None:
    with pytest.raises(ConfigError, match=said):
        run("spine", SAMPLES / "spine" / "imagesTr" / "spine06.nii.gz", **option)


@pytest.mark.parametrize("overwrite", [False, True])
def test_images_in_the_output_folder_are_never_overwritten(
    overwrite: bool, run: Callable[..., Batch], tmp_path: Path
) -> None:
    image = tmp_path / "OUT" / "lung01" / "lung01.nii.gz"
    image.parent.mkdir(parents=True)
    shutil.copy(SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz", image)
    before = image.read_bytes()
    batch = run("lung_ct", image, overwrite=overwrite)
    assert "choose another output" in batch.failed["lung01"]
    assert image.read_bytes() == before
    assert [file.name for file in image.parent.iterdir()] == [image.name]


def test_what_lies_in_the_folder_counts_not_what_an_older_line_says(
    run: Callable[..., Batch], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    image = SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz"
    first = run("lung_ct", image)
    state = torch.load(small_weights["lung_ct"], weights_only=True)
    torch.save({name: value * 1.1 for name, value in state.items()}, tmp_path / "other.pt")
    manifest = first.output_dir / "manifest.jsonl"
    lines = manifest.read_text()
    run("lung_ct", image, weights=str(tmp_path / "other.pt"), overwrite=True)
    manifest.write_text(lines)  # as if killed between the rename and the line
    assert "other input, weights or settings" in run("lung_ct", image).failed["lung01"]
    assert run("lung_ct", image, weights=str(tmp_path / "other.pt")).skipped == ["lung01"]
    assert _lines(first.output_dir)[-1]["weights_sha256"] != _lines(first.output_dir)[0]["weights_sha256"]


def test_how_many_windows_are_run_at_once_is_no_other_setting(run: Callable[..., Batch]) -> None:
    image = SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz"
    assert run("lung_ct", image).done == ["lung01"]
    assert run("lung_ct", image, sw_batch_size=3).skipped == ["lung01"]
