"""`radseg explain`: images go in, a folder a case with a heat map on the image's grid comes out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from radseg.networks import AttentionUNet
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.explain import Explanations, explain
from radseg.pipelines.explain.attention import AttentionMaps
from radseg.pipelines.explain.explainer import label_value
from radseg.pipelines.segment import segment
from radseg.pipelines.weights import sha256_of

SAMPLES = Path(__file__).parents[3] / "sample_data"
# Grad-CAM of the small spine network, which isn't trained, is 0 everywhere
METHODS = {"lung_ct": "gradcam", "spine": "gradcam++", "lung_xray": "gradcam", "pelvis_xray": "gradcam"}
BUNDLES = tuple(METHODS)

Run = Callable[..., Explanations]


def image_of(bundle: str) -> Path:
    return sorted((SAMPLES / bundle / "imagesTr").iterdir())[0]


def truth_of(bundle: str) -> Path:
    stem = image_of(bundle).name.split(".")[0]
    return next((SAMPLES / bundle / "labelsTr").glob(f"{stem}*"))


def pixels(file: Path) -> np.ndarray:
    if file.suffix == ".png":
        with Image.open(file) as picture:
            return np.asarray(picture).astype(np.float64) / 255
    return np.asarray(nib.load(file).dataobj, dtype=np.float64)


@pytest.fixture(scope="module")
def weights(small_weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of the small networks; the one of lung_ct, all of whose last features are 0, with others."""
    torch.manual_seed(10)
    network = AttentionUNet(features=[4, 8, 16, 32])
    with torch.no_grad():
        network.output.weight.mul_(100)
        network.output.bias.fill_(2.0)
    file = tmp_path_factory.mktemp("explained_weights") / "lung_ct.pt"
    torch.save(network.state_dict(), file)
    return {**small_weights, "lung_ct": file}


@pytest.fixture(scope="module")
def run(weights: dict[str, Path], small: dict[str, Any]) -> Run:
    """Explains with the small networks."""

    def run(bundle: str, inputs: Any, output: Path, **options: Any) -> Explanations:
        settings = {"weights": str(weights[bundle]), "runtime": "torch", "progress": False, **small[bundle]}
        return explain(bundle, inputs, output, **{**settings, **options})

    return run


@pytest.fixture(scope="module")
def explained(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The first sample of each bundle explained: its folder and what stands in its explain.json."""
    out = tmp_path_factory.mktemp("explained")
    found = {}
    for bundle in BUNDLES:
        result = run(bundle, image_of(bundle), out / bundle, method=METHODS[bundle])
        assert result.ok, result.failed
        ((case, record),) = result.done.items()
        found[bundle] = out / bundle / case, record
    return found


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_heat_map_lies_on_the_grid_of_its_image(
    bundle: str, explained: dict[str, tuple[Path, dict[str, Any]]]
) -> None:
    folder, _ = explained[bundle]
    suffix = "png" if bundle.endswith("xray") else "nii.gz"
    assert {file.name for file in folder.iterdir()} == {
        f"mask.{suffix}", f"heatmap.{suffix}", "explain.png", "explain.json",
    }  # fmt: skip
    heat = pixels(folder / f"heatmap.{suffix}")
    assert heat.shape == pixels(image_of(bundle)).shape[: heat.ndim]
    if suffix == "nii.gz":
        assert np.allclose(nib.load(folder / "heatmap.nii.gz").affine, nib.load(image_of(bundle)).affine, atol=1e-5)
    assert 0 <= heat.min() < 0.9 < heat.max() <= 1 + 1e-6  # the header's scale is a float32


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_mask_is_the_one_that_segment_gives(
    bundle: str,
    explained: dict[str, tuple[Path, dict[str, Any]]],
    weights: dict[str, Path],
    small: dict[str, Any],
    tmp_path: Path,
) -> None:
    folder, _ = explained[bundle]
    options = {"weights": str(weights[bundle]), "runtime": "torch", "progress": False, **small[bundle]}
    batch = segment(bundle, image_of(bundle), tmp_path, **options)
    name = "mask.png" if bundle.endswith("xray") else "mask.nii.gz"
    assert np.array_equal(pixels(tmp_path / batch.done[0] / name), pixels(folder / name))
    assert pixels(folder / name).any()


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_record_says_what_was_explained_by_which_weights_and_how_much_lies_in_the_mask(
    bundle: str, explained: dict[str, tuple[Path, dict[str, Any]]], weights: dict[str, Path]
) -> None:
    folder, record = explained[bundle]
    assert json.loads((folder / "explain.json").read_text()) == record
    config = json.loads((Path(__file__).parents[3] / "bundles" / bundle / "inference.json").read_text())
    assert (record["method"], record["layer"], record["target"]) == (
        METHODS[bundle], config["explain_layer"], "prediction",
    )  # fmt: skip
    assert record["weights_sha256"] == sha256_of(weights[bundle])
    numbers = {row["name"]: row["value"] for row in record["measurements"]}
    inside, outside = numbers["heatmap inside the prediction"], numbers["heatmap outside the prediction"]
    assert inside + outside == pytest.approx(100, abs=0.001)
    suffix = "png" if bundle.endswith("xray") else "nii.gz"
    heat, mask = pixels(folder / f"heatmap.{suffix}"), pixels(folder / f"mask.{suffix}")
    label = (
        1 if suffix == "png" else ["vertebra", "fractured vertebra", "COVID-19 lesion"].index(record["label"]) % 2 + 1
    )
    # the file holds 256 levels, the number was taken before
    assert 100 * heat[mask == label].sum() / heat.sum() == pytest.approx(inside, abs=1)


def test_a_truth_is_what_the_logits_are_summed_over_unless_told_otherwise(run: Run, tmp_path: Path) -> None:
    image, truth = image_of("lung_xray"), truth_of("lung_xray")
    folders = {}
    for name, options in {"truth": {}, "prediction": {"target": "prediction"}}.items():
        result = run("lung_xray", image, tmp_path / name, truth=truth.parent, **options)
        ((case, record),) = result.done.items()
        assert record["target"] == name
        assert {"heatmap inside the truth", "explained part inside the truth"} <= {
            row["name"] for row in record["measurements"]
        }
        folders[name] = tmp_path / name / case
    assert not np.array_equal(*(pixels(folder / "heatmap.png") for folder in folders.values()))


def test_the_panels_are_four_with_a_truth_and_three_without(
    run: Run, explained: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    run("lung_ct", image_of("lung_ct"), tmp_path, truth=truth_of("lung_ct"))
    ((case),) = [folder for folder in tmp_path.iterdir() if folder.is_dir()]
    wide, narrow = (pixels(folder / "explain.png").shape[1] for folder in (case, explained["lung_ct"][0]))
    assert wide / narrow == pytest.approx(4 / 3, abs=0.1)


def test_one_truth_for_several_images_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give a folder of masks"):
        run("lung_xray", SAMPLES / "lung_xray" / "imagesTr", tmp_path, truth=truth_of("lung_xray"))


def test_a_truth_of_another_image_fails_its_case_alone(run: Run, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.zeros((7, 99), np.uint8)).save(masks / image_of("lung_xray").name)
    images = sorted((SAMPLES / "lung_xray" / "imagesTr").iterdir())[:2]
    result = run("lung_xray", images, tmp_path / "OUT", truth=masks)
    assert list(result.failed) == [images[0].stem]
    assert list(result.done) == [images[1].stem]
    assert not result.ok
    assert [folder.name for folder in (tmp_path / "OUT").iterdir()] == [images[1].stem]


@pytest.mark.parametrize("bundle", ["lung_ct", "lung_xray"])
def test_an_empty_mask_has_no_explanation_and_says_so(
    bundle: str, run: Run, small_weights: dict[str, Path], tmp_path: Path
) -> None:
    threshold = {"lung_ct": {"threshold": 1.0}, "lung_xray": {"threshold": 1.0, "local_floor": 1.0}}[bundle]
    result = run(bundle, image_of(bundle), tmp_path, weights=str(small_weights[bundle]), **threshold)
    ((case, record),) = result.done.items()
    assert record["target"] is None
    assert record["measurements"] == []
    assert any("nothing to explain" in warning for warning in record["warnings"])
    assert not list((tmp_path / case).glob("heatmap*"))
    assert (tmp_path / case / "explain.png").is_file()
    assert "NaN" not in (tmp_path / case / "explain.json").read_text()


def test_a_map_that_is_0_everywhere_has_no_shares_and_says_so(
    run: Run, small_weights: dict[str, Path], tmp_path: Path
) -> None:
    result = run("lung_ct", image_of("lung_ct"), tmp_path, weights=str(small_weights["lung_ct"]))
    ((case, record),) = result.done.items()
    assert not pixels(tmp_path / case / "heatmap.nii.gz").any()
    assert any("no feature of the layer raises the logits" in warning for warning in record["warnings"])
    rows = [row for row in record["measurements"] if row["name"].startswith("heatmap")]
    assert [(row["value"], row["warning"]) for row in rows] == [(None, "the map is 0 everywhere")] * 2


def test_an_empty_truth_gives_way_to_the_prediction(run: Run, tmp_path: Path) -> None:
    with Image.open(image_of("lung_xray")) as picture:
        Image.new("L", picture.size).save(tmp_path / "none.png")
    result = run("lung_xray", image_of("lung_xray"), tmp_path / "OUT", truth=tmp_path / "none.png")
    (record,) = result.done.values()
    assert record["target"] == "prediction"
    assert any("the truth has no voxel of the label" in warning for warning in record["warnings"])


def test_attention_gates_give_a_map_each(run: Run, tmp_path: Path) -> None:
    result = run("lung_ct", image_of("lung_ct"), tmp_path, method="attention")
    ((case, record),) = result.done.items()
    maps = sorted((tmp_path / case).glob("heatmap*"))
    assert [file.name for file in maps] == [f"heatmap_level{level}.nii.gz" for level in (1, 2, 3, 4)]
    for file in maps:
        heat = pixels(file)
        assert heat.shape == nib.load(image_of("lung_ct")).shape
        assert 0 < heat.max() <= 1
    assert record["layer"] == "attention gates"
    assert len(record["measurements"]) == 9


def test_networks_without_attention_gates_say_so(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LungUNet has no attention gates"):
        run("lung_xray", image_of("lung_xray"), tmp_path, method="attention")
    with pytest.raises(ConfigError, match="AttentionUNet has no attention gates"):
        AttentionMaps(AttentionUNet(features=[4, 8], attention=False))


def test_the_sanity_test_stands_in_the_record(run: Run, tmp_path: Path) -> None:
    result = run("lung_xray", image_of("lung_xray"), tmp_path, sanity=True, method="gradcam++")
    (record,) = result.done.values()
    assert record["sanity"][0]["randomised"] == "output"
    assert record["sanity"][-1]["randomised"] == "encoder.0"
    assert len(record["sanity"]) == 14
    with pytest.raises(ConfigError, match="the sanity test is of gradcam"):
        run("lung_ct", image_of("lung_ct"), tmp_path, sanity=True, method="attention")


def test_the_label_that_is_asked_for_is_explained(run: Run, tmp_path: Path) -> None:
    result = run(
        "spine", image_of("spine"), tmp_path, label="fractured vertebra", method="gradcam++", truth=truth_of("spine")
    )
    (record,) = result.done.values()
    assert record["label"] == "fractured vertebra"
    assert {row["of"] for row in record["measurements"]} == {"fractured vertebra"}


def test_a_label_is_named_or_numbered() -> None:
    labels = ["vertebra", "fractured vertebra"]
    assert [label_value(label, labels) for label in ("fractured vertebra", "2", 2, 1)] == [2, 2, 2, 1]
    for label, told in {"fractured vertebrae": "did you mean 'fractured vertebra'", 3: "there are vertebra"}.items():
        with pytest.raises(ConfigError, match=told):
            label_value(label, labels)


def test_several_networks_are_explained_together(run: Run, small_weights: dict[str, Path], tmp_path: Path) -> None:
    for fold in (0, 1):
        (tmp_path / "cv" / f"fold_{fold}").mkdir(parents=True)
        shutil.copy(small_weights["lung_xray"], tmp_path / "cv" / f"fold_{fold}" / "model.pt")
    one = run("lung_xray", image_of("lung_xray"), tmp_path / "one")
    two = run("lung_xray", image_of("lung_xray"), tmp_path / "two", weights=str(tmp_path / "cv"), folds=[0, 1])
    (case,) = two.done
    assert (one.done[case]["members"], two.done[case]["members"]) == (1, 2)
    alike = (pixels(tmp_path / name / case / "heatmap.png") for name in ("one", "two"))
    assert np.abs(np.subtract(*alike)).max() < 0.01


def test_what_is_there_is_kept_unless_overwriting_is_asked_for(run: Run, tmp_path: Path) -> None:
    image = image_of("lung_xray")
    first = run("lung_xray", image, tmp_path)
    (case,) = first.done
    again = run("lung_xray", image, tmp_path)
    assert "use --overwrite" in again.failed[case]
    assert run("lung_xray", image, tmp_path, overwrite=True, method="gradcam++").done[case]["method"] == "gradcam++"
    (tmp_path / case / "statistics.json").write_text("{}")
    result = run("lung_xray", image, tmp_path, overwrite=True)
    assert "choose another output" in result.failed[case]
    assert (tmp_path / case / "statistics.json").is_file()


@pytest.mark.parametrize("key", ["deidentify", "send_to", "output_type"])
def test_nothing_is_sent_and_no_dicom_is_written(key: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="explain writes no DICOM"):
        run("lung_xray", image_of("lung_xray"), tmp_path, **{key: "x"})


def test_the_command_says_what_lies_in_the_mask(
    radseg: Callable[..., Any],
    small_options: Callable[[str], list[str]],
    small_weights: dict[str, Path],
    tmp_path: Path,
) -> None:
    command = ["explain", "lung_xray", image_of("lung_xray"), *small_options("lung_xray"), "--weights"]
    ended = radseg(*command, small_weights["lung_xray"], "-o", tmp_path / "OUT", "--runtime", "torch")
    assert ended.code == 0, ended.err
    assert "% of heatmap inside the prediction" in ended.out
    assert "1 explained, 0 failed" in ended.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--layer", "botleneck"], "error: LungUNet has no layer 'botleneck': did you mean 'bottleneck'?"),
        (["--method", "lime"], "error: no method 'lime': there are gradcam, gradcam++, attention"),
        (["--target", "truth"], "error: target truth needs the truth: give --truth MASK or a folder of masks"),
        (["--truth", "nowhere.png"], "error: nowhere.png: no such mask or folder of masks; check --truth"),
    ],
)
def test_a_wrong_option_ends_as_one_line(
    options: list[str],
    told: str,
    radseg: Callable[..., Any],
    small_options: Callable[[str], list[str]],
    small_weights: dict[str, Path],
    tmp_path: Path,
) -> None:
    command = ["explain", "lung_xray", image_of("lung_xray"), *small_options("lung_xray"), "--weights"]
    ended = radseg(*command, small_weights["lung_xray"], "-o", tmp_path / "OUT", *options)
    assert ended.code in (1, 2)
    assert ended.err.strip().splitlines()[-1] == told
    assert not list((tmp_path / "OUT").glob("*"))


def test_real_slices_of_a_lesion_are_explained(run: Run, real_data: Path, tmp_path: Path) -> None:
    case = real_data / "covid_ct"
    result = run("lung_ct", case / "ct" / "0100.png", tmp_path, truth=case / "lesion" / "0100.png")
    (record,) = result.done.values()
    assert record["target"] == "truth"
