"""Inference of the server: the very mask of `radseg segment`, in the form that a client asks for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

pytest.importorskip("monailabel")

from dicom_factory import write_radiograph
from label_app import pixels, radiographs
from untrained import first_version_untrained

from radseg.networks import AttentionUNet
from radseg.pipelines.io import load_mask, load_volume, write_mask
from radseg.pipelines.label_server.models.serving import Described, Serving
from radseg.pipelines.label_server.models.versions import Versions
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.tasks.infer import Infer
from radseg.pipelines.segment import segment

MODELS = ("lung_xray", "lung_ct")


@pytest.fixture(scope="module")
def lung_ct_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, always the same, whose masks aren't empty."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "lung_ct.pt"
    torch.save(AttentionUNet().state_dict(), file)
    return file


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, lung_ct_weights: Path) -> Serving:
    versions = Versions(tmp_path_factory.mktemp("workspace"), {"lung_ct": lung_ct_weights})
    for name in MODELS:
        versions.prepare(name)
    first_version_untrained(versions.workspace, "spine", tmp_path_factory.mktemp("untrained"))
    return Serving(versions, [*MODELS, "spine"], "cpu")


@pytest.fixture(scope="module")
def radiograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (image,) = radiographs(tmp_path_factory.mktemp("radiographs"), 1).iterdir()
    return image


@pytest.fixture
def made() -> Iterator[list[Path]]:
    """Files that are deleted afterwards, as a server does."""
    files: list[Path] = []
    yield files
    for file in files:
        file.unlink(missing_ok=True)


def run(serving: Serving, model: str, source: Path, made: list[Path], **request: object) -> tuple[Path, dict]:
    infer = Infer(serving.models[model], serving)
    file, told = infer({"source": str(source), "image": source.name, **request})
    made.append(Path(file))
    return Path(file), told


def test_the_mask_of_a_radiograph_is_segments_own(
    serving: Serving, radiograph: Path, tmp_path: Path, made: list[Path]
) -> None:
    segment("lung_xray", radiograph, tmp_path, device="cpu", progress=False)
    file, told = run(serving, "lung_xray", radiograph, made)
    assert file.read_bytes() == (tmp_path / radiograph.stem / "mask.png").read_bytes()
    assert told["label_names"] == {"lung": 1}
    assert told["version"] == 1
    assert pixels(file).any()


@pytest.mark.long
def test_the_mask_of_a_volume_is_segments_own(
    serving: Serving, lung_ct_weights: Path, tmp_path: Path, made: list[Path]
) -> None:
    hu = np.random.default_rng(0).normal(-500, 300, (40, 36, 3)).round()
    affine = np.array([[-0.7, 0.1, 0, 5], [0.1, 0.7, 0, -9], [0, 0, 2.5, 3], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(hu.astype(np.int16), affine), tmp_path / "ct.nii.gz")
    out = tmp_path / "out"
    segment("lung_ct", tmp_path / "ct.nii.gz", out, weights=lung_ct_weights, device="cpu", progress=False)
    file, _ = run(serving, "lung_ct", tmp_path / "ct.nii.gz", made)
    expected = load_mask(out / "ct" / "mask.nii.gz")
    found = load_mask(file)
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.affine_ras, expected.affine_ras)

    as_nrrd, _ = run(serving, "lung_ct", tmp_path / "ct.nii.gz", made, result_extension=".nrrd", result_dtype="uint16")
    found = load_mask(as_nrrd)
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine_ras, expected.affine_ras, atol=1e-5)


@pytest.mark.parametrize("extension", [".nii.gz", ".nii", ".nrrd", "nrrd", ".png"])
def test_a_radiographs_mask_lies_on_it_in_every_form(
    serving: Serving, radiograph: Path, made: list[Path], extension: str
) -> None:
    file, _ = run(serving, "lung_xray", radiograph, made, result_extension=extension)
    mask, image = load_mask(file), load_volume(radiograph)
    plain, _ = run(serving, "lung_xray", radiograph, made)
    np.testing.assert_array_equal(mask.array, pixels(plain))
    np.testing.assert_allclose(mask.affine_ras, image.affine_ras, atol=1e-6)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({"result_extension": ".exe"}, "result_extension '.exe' can't be written here"),
        ({"result_extension": "/../x.nrrd"}, "can't be written here"),
        ({"result_extension": ".nrrd", "result_dtype": "float"}, "result_dtype 'float' is unknown"),
    ],
)
def test_a_form_that_there_isnt_is_refused(
    serving: Serving, radiograph: Path, made: list[Path], request_: dict[str, str], line: str
) -> None:
    with pytest.raises(Refused, match=line) as told:
        run(serving, "lung_xray", radiograph, made, **request_)
    assert told.value.status_code == 422


def test_the_network_is_loaded_once_a_version(serving: Serving, lung_ct_weights: Path) -> None:
    first = serving.loaded("lung_ct")
    assert serving.loaded("lung_ct") is first
    number = serving.versions.add("lung_ct", lung_ct_weights, note={})
    second = serving.loaded("lung_ct")
    assert second is not first
    assert second.version.number == number
    serving.versions.roll_back("lung_ct", 1)
    assert serving.loaded("lung_ct").version.number == 1


def test_a_model_without_weights_is_not_offered_and_says_what_to_do(serving: Serving, radiograph: Path) -> None:
    assert not Infer(serving.models["spine"], serving).is_valid()
    assert Infer(serving.models["lung_xray"], serving).is_valid()
    with pytest.raises(Refused, match="spine has no weights yet: submit labels and train it") as told:
        run(serving, "spine", radiograph, [])
    assert told.value.status_code == 409


def test_weights_damaged_on_disk_are_told_and_not_run(tmp_path: Path, radiograph: Path) -> None:
    versions = Versions(tmp_path)
    weights = versions.prepare("lung_xray") / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(Refused, match="sha256") as told:
        run(Serving(versions, ["lung_xray"], "cpu"), "lung_xray", radiograph, [])
    assert told.value.status_code == 503


def test_an_image_that_cant_be_used_is_refused_without_a_path(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "junk.png").write_bytes(b"junk")
    write_mask(tmp_path / "ct.nii.gz", np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.eye(4))
    for name in ("junk.png", "ct.nii.gz"):
        with pytest.raises(Refused) as told:
            run(serving, "lung_xray", tmp_path / name, [])
        assert told.value.status_code == 422
        assert str(tmp_path) not in str(told.value)
        assert "\n" not in str(told.value)


def test_an_image_removed_while_it_is_read_is_told(
    serving: Serving, radiograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Path(shutil.copy(radiograph, tmp_path))
    case = serving.loaded("lung_xray").case(image)
    monkeypatch.setattr(
        "radseg.pipelines.label_server.models.serving.as_case", lambda *_, **__: (image.unlink(), case)[1]
    )
    with pytest.raises(Refused, match="was removed while it was worked on") as told:
        run(serving, "lung_xray", image, [])
    assert told.value.status_code == 404


def test_a_radiograph_in_dicom_is_segmented(serving: Serving, tmp_path: Path, made: list[Path]) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (48, 40))
    file, _ = run(serving, "lung_xray", write_radiograph(tmp_path / "x.dcm", stored), made)
    assert pixels(file).shape == (40, 48, 1)


def test_what_is_told_of_a_model_has_colours_and_coded_terms(serving: Serving) -> None:
    info = Infer(serving.models["spine"], serving).info()
    assert info["labels"] == {"vertebra": 1, "fractured vertebra": 2}
    assert info["config"]["label_colors"]["vertebra"] == [240, 214, 149]
    fractured = info["label_info"][1]["segmentAttribute"]
    assert fractured["labelID"] == 2
    assert fractured["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] == "Fracture"
    assert fractured["AnatomicRegionSequence"]["CodeMeaning"] == "Vertebra"
    assert info["version"] == 1


@pytest.mark.parametrize("name", ["spine", "lung_ct", "lung_xray", "pelvis_xray"])
def test_every_bundle_can_be_described(name: str) -> None:
    described = Described.of(name)
    assert described.segments[0].number == 1
    assert described.modality in ("CT", "DX")
