"""Every experiment that a bundle plans can be run: its variants are networks and recipes that there are."""

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import radseg.bundles
from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.evaluate import evaluate
from radseg.pipelines.experiments.plan import KINDS, Plan, overrides_for, read_plan
from radseg.pipelines.experiments.search_space import read_search_space

BUNDLES = radseg.bundles.names()
# the published numbers, read once more from the papers: Dice and IoU, or Dice, IoU and MSE
SPINE_ABLATION = {
    "full": (91.87, 93.36),
    "no FFM": (86.18, 87.39),
    "no SEM": (86.08, 85.62),
    "no ASPP": (79.93, 82.48),
    "no RCBAM": (88.69, 89.01),
    "no RBRAB": (82.95, 83.17),
    "no LPRAB": (87.23, 86.93),
}
# exact counts of the specification, with the paper's one output channel: 2D 32…512 and 3D 16…256
SPINE_COUNTS = {
    "full": (6_238_524, 5_987_992),
    "no FFM": (5_796_156, 5_938_840),
    "no SEM": (6_234_140, 5_983_608),
    "no ASPP": (6_098_556, 5_626_840),
    "no RCBAM": (5_851_410, 4_863_010),
    "no RBRAB": (6_139_579, 5_741_591),
    "no LPRAB": (6_122_236, 5_646_488),
}
LUNG_CT_COUNTS = {"full": 11_877_134, "no attention gates": 10_829_770}
LUNG_XRAY_COUNTS = {"U-Net": 2_159_889, "FCNN": 471_713, "DeepLab": 2_298_529}
# trainable; the paper gives totals in millions
PELVIS_COUNTS = {
    "InceptionV3": (29_896_689, 29_933_105),
    "VGG16": (23_748_241, 23_752_273),
    "ResNet50": (32_513_556, 32_561_114),
    "DenseNet121": (12_059_345, 12_144_977),
    "EfficientNetB3": (17_778_553, 17_867_833),
    "MobileNetV2": (8_011_345, 8_047_441),
}


def plans() -> list[tuple[str, str, str]]:
    """(bundle, kind, variant) of all that is planned."""
    found = []
    for bundle in BUNDLES:
        for kind in ("ablate", "compare"):
            try:
                found += [(bundle, kind, variant) for variant in read_plan(bundle, kind).variants]
            except ConfigError:  # not planned
                continue
    return found


def parsed(bundle: str, config: str, overrides: Mapping[str, Any]) -> Any:
    """The config of a variant, as a run of an experiment has it."""
    changes = overrides_for(config, Path(radseg.bundles.root(bundle)), overrides)
    return load_workflow(bundle, config, {"progress": False, **changes}, trust_config=True).parser


def network(bundle: str, config: str, overrides: Mapping[str, Any]) -> torch.nn.Module:
    with torch.device("meta"):
        net: torch.nn.Module = parsed(bundle, config, overrides).get_parsed_content("network_def")
    return net


def trainable(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("bundle", "kind", "variant"), plans(), ids=str)
def test_a_variant_trains_and_is_scored_with_one_network_and_one_preprocessing(
    bundle: str, kind: str, variant: str
) -> None:
    plan = read_plan(bundle, kind)
    overrides = plan.variants[variant]
    configs = [parsed(bundle, config, overrides) for config in ("train", "evaluate")]
    with torch.device("meta"):
        trained, scored = (config.get_parsed_content("network_def") for config in configs)
    assert {name: value.shape for name, value in trained.state_dict().items()} == {
        name: value.shape for name, value in scored.state_dict().items()
    }
    assert configs[0].config["preprocessing"] == configs[1].config["preprocessing"]
    loss = configs[0].get_parsed_content("loss")
    assert isinstance(loss, torch.nn.Module)
    assert (variant == plan.baseline) == (overrides == {})


@pytest.mark.parametrize(("bundle", "kind", "variant"), plans(), ids=str)
def test_a_variant_differs_from_the_baseline_in_what_it_names(bundle: str, kind: str, variant: str) -> None:
    plan = read_plan(bundle, kind)
    base, changed = (parsed(bundle, "train", plan.variants[name]).config for name in (plan.baseline, variant))
    roots = {key.partition("#")[0] for key in plan.variants[variant]}
    assert {key for key in changed if changed[key] != base.get(key)} == roots


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_paper_has_numbers_of_variants_that_there_are_and_says_where_from_and_on_what(bundle: str) -> None:
    content = json.loads((Path(radseg.bundles.root(bundle)) / "experiments.json").read_text())
    assert set(content) <= set(KINDS)
    for kind in ("ablate", "compare"):
        if kind not in content or content[kind]["paper"] is None:
            continue
        paper, plan = content[kind]["paper"], read_plan(bundle, kind)
        assert set(paper["variants"]) <= set(plan.variants)
        assert plan.baseline in paper["variants"]
        assert len(paper["source"]) > 20
        assert len(paper["on"]) > 40
        assert all(0 < value < 1 for row in paper["variants"].values() for value in row.values())


def paper_of(plan: Plan) -> dict[str, dict[str, float]]:
    assert plan.paper is not None
    rows: dict[str, dict[str, float]] = plan.paper["variants"]
    return rows


def test_spine_ablates_the_papers_six_modules() -> None:
    plan = read_plan("spine", "ablate")
    assert set(plan.variants) == set(SPINE_ABLATION)
    for name, (dice, iou) in SPINE_ABLATION.items():
        assert paper_of(plan)[name] == pytest.approx({"dice": dice / 100, "iou": iou / 100})


@pytest.mark.parametrize("variant", SPINE_COUNTS)
def test_spine_without_a_module_has_the_parameters_of_the_specification(variant: str) -> None:
    overrides = read_plan("spine", "ablate").variants[variant]
    in_2d = {"spatial_dims": 2, "network_def#features": [32, 64, 128, 256, 512]}
    counts = tuple(
        trainable(network("spine", "train", {"out_channels": 1, **form, **overrides})) for form in (in_2d, {})
    )
    assert counts == SPINE_COUNTS[variant]


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_spine_is_compared_with_the_papers_six_opponents_at_a_like_size(spatial_dims: int) -> None:
    plan = read_plan("spine", "compare")
    assert set(plan.variants) == {
        "SpineFusionNet", "U-Net", "U-Net++", "SegNet", "FCN-8s", "DeepLabv3+", "SpineGAN",
    }  # fmt: skip
    nets = {
        name: network("spine", "train", {"spatial_dims": spatial_dims, **one}) for name, one in plan.variants.items()
    }
    assert len({type(net) for net in nets.values()}) == len(nets)
    if spatial_dims == 3:  # in 2D each has its published width
        ours = trainable(nets["SpineFusionNet"])
        assert all(ours / 1.5 < trainable(net) < ours * 1.5 for net in nets.values())


def test_spinegan_differs_from_every_other_training_in_its_discriminator_alone() -> None:
    content = json.loads((Path(radseg.bundles.root("spine")) / "train.json").read_text())
    trainer = dict(parsed("spine", "train", read_plan("spine", "compare").variants["SpineGAN"])["train#trainer"])
    for own in ("_target_", "discriminator", "discriminator_learning_rate", "adversarial_weight"):
        trainer.pop(own)
    assert trainer == {key: value for key, value in content["train"]["trainer"].items() if key != "_target_"}


def test_lung_ct_leaves_out_what_its_authors_did_not() -> None:
    plan = read_plan("lung_ct", "ablate")
    assert plan.paper is None  # the paper has no ablation

    def kinds_of(variant: str, node: str) -> list[str]:
        parser = parsed("lung_ct", "train", plan.variants[variant])
        found = []

        def walk(transform: Any) -> None:
            found.append(type(transform).__name__)
            for inner in getattr(getattr(transform, "by_slice", transform), "transforms", ()):
                walk(inner)

        walk(parser.get_parsed_content(node))
        return found

    for name, count in LUNG_CT_COUNTS.items():
        assert trainable(network("lung_ct", "train", plan.variants[name])) == count
    full, without = kinds_of("full", "preprocessing"), kinds_of("no CLAHE", "preprocessing")
    assert "CLAHE" in full
    assert without == [name for name in full if name != "CLAHE"]
    assert "RandAffined" in kinds_of("full", "augmentation")
    assert kinds_of("no augmentation", "augmentation") == ["Compose"]


def test_lung_ct_is_trained_by_each_part_of_its_loss_alone() -> None:
    plan = read_plan("lung_ct", "ablate")
    logits = torch.linspace(-2, 2, 64).reshape(1, 1, 8, 8)
    target = (torch.arange(64).reshape(1, 1, 8, 8) % 3 == 0).float()

    def loss(variant: str) -> float:
        return float(parsed("lung_ct", "train", plan.variants[variant]).get_parsed_content("loss")(logits, target))

    p = torch.sigmoid(logits)
    true, false, missed = (p * target).sum(), (p * (1 - target)).sum(), ((1 - p) * target).sum()
    assert loss("Dice loss") == pytest.approx(float(1 - 2 * true / (2 * true + false + missed)), abs=1e-5)
    assert loss("Tversky loss") == pytest.approx(float(1 - true / (true + 0.3 * false + 0.7 * missed)), abs=1e-5)
    assert loss("full") == pytest.approx(loss("Dice loss") + loss("Tversky loss"))
    expected = torch.nn.functional.binary_cross_entropy(p, target)
    assert loss("cross-entropy loss") == pytest.approx(float(expected), rel=1e-5)


def test_lung_xray_leaves_out_each_filter_of_its_chain() -> None:
    plan = read_plan("lung_xray", "ablate")
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).astype(np.float32))
    filtered = {}
    for name, overrides in plan.variants.items():
        chains = [parsed("lung_xray", config, overrides) for config in ("train", "evaluate")]
        results = [chain.get_parsed_content("filtering")({"image": image.clone()})["image"] for chain in chains]
        assert torch.equal(*results)
        filtered[name] = results[0]
    grey = (image - image.min()) / (image.max() - image.min())
    assert torch.allclose(filtered["grey alone"], grey, atol=1e-6)
    assert torch.equal(filtered["no augmentation"], filtered["full"])
    kinds = ("full", "no gradient", "no CLAHE", "no blur", "grey alone")
    for one, other in itertools.combinations(kinds, 2):
        assert not torch.equal(filtered[one], filtered[other]), (one, other)


# one of each way in which a variant differs; the tests of the networks train the rest
TRAINED = [
    ("spine", "compare", "SpineGAN", {"network_def#features": [4, 4, 8]}),
    ("lung_ct", "ablate", "no attention gates", {}),
    ("lung_ct", "ablate", "no CLAHE", {}),
    ("lung_ct", "ablate", "cross-entropy loss", {}),
    ("lung_ct", "ablate", "no augmentation", {}),
]


@pytest.mark.long
@pytest.mark.parametrize(("bundle", "kind", "variant", "narrow"), TRAINED)
def test_a_variant_is_trained_and_scored(
    bundle: str,
    kind: str,
    variant: str,
    narrow: dict[str, Any],
    short_training: Callable[..., Any],
    small: dict[str, dict[str, Any]],
    tmp_path: Path,
) -> None:
    overrides = {**small[bundle], **read_plan(bundle, kind).variants[variant], **narrow}
    run = short_training(bundle, tmp_path / "run", max_epochs=1, trust_config=True, **overrides)
    assert len(run.history["epochs"]) == 1
    if variant == "SpineGAN":
        assert run.history["epochs"][0]["discriminator_loss"] > 0
    scored = overrides_for("evaluate", Path(radseg.bundles.root(bundle)), overrides)
    places = {"weights": str(run.training.weights), "output_dir": str(tmp_path / "scores"), "progress": False}
    scores = evaluate(bundle, trust_config=True, **scored, **places)
    assert all(row["metrics"]["voxels_truth"] > 0 for row in scores["rows"])


def test_lung_ct_has_the_papers_five_folds() -> None:
    paper = read_plan("lung_ct", "cross_validate").paper
    assert paper is not None
    folds = paper["folds"]
    assert paper["parameters"] == {"lung_ct": 11_883_022}
    assert [fold["dice"] for fold in folds] == [0.8317, 0.8314, 0.8262, 0.8295, 0.8297]
    for metric, mean in paper["mean"].items():
        assert sum(fold[metric] for fold in folds) / 5 == pytest.approx(mean, abs=1e-4)  # rounded to four places
    for fold in folds:  # a mean Dice can't differ much from what the mean IoU says
        assert 2 * fold["iou"] / (1 + fold["iou"]) == pytest.approx(fold["dice"], abs=1e-3)


def test_lung_xray_is_compared_by_the_papers_three_networks() -> None:
    plan = read_plan("lung_xray", "compare")
    counts = {name: trainable(network("lung_xray", "train", one)) for name, one in plan.variants.items()}
    assert counts == LUNG_XRAY_COUNTS
    assert paper_of(plan) == {
        "U-Net": {"dice": 0.97, "iou": 0.94, "mse": 0.02},
        "FCNN": {"dice": 0.92, "iou": 0.86, "mse": 0.04},
        "DeepLab": {"dice": 0.96, "iou": 0.95, "mse": 0.01},
    }


def test_pelvis_xray_is_compared_by_the_papers_six_encoders() -> None:
    plan = read_plan("pelvis_xray", "compare")
    counts = {}
    for name, overrides in plan.variants.items():
        net = network("pelvis_xray", "train", overrides)
        statistics = sum(
            buffer.numel() for key, buffer in net.named_buffers() if key.endswith(("running_mean", "running_var"))
        )
        counts[name] = (trainable(net), sum(one.numel() for one in net.parameters()) + statistics)
    assert counts == PELVIS_COUNTS
    assert plan.paper is not None
    assert {name: f"{count / 1e6:.2f} M" for name, count in plan.paper["parameters"].items()} == {
        "InceptionV3": "29.93 M",
        "VGG16": "23.75 M",
        "ResNet50": "32.56 M",
        "DenseNet121": "12.14 M",
        "EfficientNetB3": "17.87 M",
        "MobileNetV2": "8.47 M",  # as printed; ours, and the paper's own percentages, say 8.05
    }
    assert {name: (row["iou"], row["dice"]) for name, row in paper_of(plan).items()} == {
        "InceptionV3": (0.926, 0.961),
        "VGG16": (0.885, 0.938),
        "ResNet50": (0.915, 0.955),
        "DenseNet121": (0.909, 0.950),
        "EfficientNetB3": (0.925, 0.960),
        "MobileNetV2": (0.821, 0.901),
    }


@pytest.mark.parametrize("bundle", BUNDLES)
def test_what_is_searched_is_in_the_training_config(bundle: str) -> None:
    space = read_search_space(bundle)
    for parameter in space.parameters:
        for value in (parameter.low, parameter.high):
            overrides = dict.fromkeys(parameter.keys, value)
            parser = parsed(bundle, "train", overrides)
            parser.get_parsed_content("loss")
            parser.get_parsed_content("augmentation")
    names = [parameter.name for parameter in space.parameters]
    assert "learning_rate" in names
    assert "augmentation probability" in names


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_augmentation_but_flips_and_crops_is_searched(bundle: str) -> None:
    content = json.loads((Path(radseg.bundles.root(bundle)) / "train.json").read_text())
    (probability,) = (one for one in read_search_space(bundle).parameters if one.name == "augmentation probability")
    random: dict[str, str] = {}

    def walk(node: Any, place: str) -> None:
        for index, inner in enumerate(node["transforms"]):
            if isinstance(inner, dict):
                if "prob" in inner:
                    random[f"{place}#transforms#{index}#prob"] = inner["_target_"]
                if "transforms" in inner:
                    walk(inner, f"{place}#transforms#{index}")

    walk(content["augmentation"], "augmentation")
    assert set(probability.keys) == {key for key, target in random.items() if target not in KEPT}


# left or right is no matter of strength; what simulates disease or surroundings has a share of its own, 0 by default
VERTEBRAE = "radseg.transforms.vertebrae"
KEPT = {"RandFlipd", f"{VERTEBRAE}.RandFractureVertebrad", f"{VERTEBRAE}.RandSurroundVertebraed"}


@pytest.mark.parametrize("bundle", BUNDLES)
def test_what_judges_a_search_is_measured_in_training(bundle: str) -> None:
    content = json.loads((Path(radseg.bundles.root(bundle)) / "train.json").read_text())
    measured = {**content["validate"]["key_metric"], **content["validate"].get("additional_metrics", {})}
    assert read_search_space(bundle).metric in measured
