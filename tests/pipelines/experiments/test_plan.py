"""A bundle's experiments.json says what is compared; what is wrong with it or asked wrongly is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

import radseg.bundles
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments.plan import overrides_for, read_plan, read_section, slug


def write(bundle: Path, **plan: Any) -> None:
    (bundle / "experiments.json").write_text(json.dumps(plan))


def test_the_plan_is_what_the_bundle_says(toy: Path) -> None:
    plan = read_plan(toy, "ablate", trust_config=True)
    assert plan.baseline == "full"
    assert list(plan.variants) == ["full", "no CLAHE", "slower"]
    assert plan.variants["no CLAHE"] == {"clahe_clip_limit": 0.0}
    assert plan.paper is not None
    assert plan.paper["variants"]["full"]["dice"] == 0.9


def test_what_all_variants_have_stands_beside_them(toy: Path) -> None:
    assert read_plan(toy, "ablate", trust_config=True).overrides == {}
    write(toy, ablate={"baseline": "a", "variants": {"a": {}}, "overrides": {"clahe_clip_limit": 1.0}})
    assert read_plan(toy, "ablate", trust_config=True).overrides == {"clahe_clip_limit": 1.0}


@pytest.mark.parametrize("kind", ["ablate", "compare"])
def test_spine_s_networks_are_compared_without_the_filter_that_only_one_needs(kind: str) -> None:
    plan = read_plan("spine", kind)
    spine = Path(radseg.bundles.root("spine"))
    for variant in plan.variants.values():
        assert overrides_for("evaluate", spine, {**plan.overrides, **variant})["guided_mm"] == 0


def test_a_cross_validation_has_the_bundle_as_it_is_and_needs_no_plan(toy: Path) -> None:
    plan = read_plan(toy, "cross_validate", trust_config=True)
    assert (plan.baseline, plan.variants) == ("toy", {"toy": {}})
    assert plan.paper is not None
    assert plan.paper["folds"] == [{"dice": 0.8}]
    (toy / "experiments.json").unlink()
    assert read_plan(toy, "cross_validate", trust_config=True).paper is None


def test_some_variants_are_chosen_and_the_baseline_always_is(toy: Path) -> None:
    plan = read_plan(toy, "ablate", trust_config=True).only(["slower"])
    assert list(plan.variants) == ["full", "slower"]


def test_a_variant_that_isnt_there_is_told_with_the_nearest(toy: Path) -> None:
    plan = read_plan(toy, "ablate", trust_config=True)
    with pytest.raises(ConfigError, match="no variant 'no CLAH': did you mean 'no CLAHE'"):
        plan.only(["no CLAH"])
    with pytest.raises(ConfigError, match="no variant 'zzz': there are full, no CLAHE, slower"):
        plan.only(["zzz"])


def test_what_the_bundle_doesnt_plan_is_told(toy: Path) -> None:
    with pytest.raises(ConfigError, match="toy: has no plan to compare; it plans cross_validate, ablate"):
        read_plan(toy, "compare", trust_config=True)
    with pytest.raises(ConfigError, match=r"no experiment 'ablat': did you mean ablate\?"):
        read_plan(toy, "ablat", trust_config=True)
    (toy / "experiments.json").unlink()
    with pytest.raises(ConfigError, match=r"has no plan to ablate; write one into experiments\.json"):
        read_plan(toy, "ablate", trust_config=True)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ([], "'ablate' must hold a JSON object"),
        ({"baseline": "full", "variants": ["full"]}, "'variants' must hold an object"),
        ({"baseline": "full", "variants": {"full": 3}}, "'variants' must hold an object"),
        ({"baseline": "fll", "variants": {"full": {}}}, "the baseline 'fll' is none of full"),
        ({"variants": {"full": {}}}, "the baseline None is none of full"),
        ({"baseline": "a", "variants": {"a": {}}, "overrides": ["b"]}, "'overrides' must hold an object"),
        ({"baseline": "a b", "variants": {"a b": {}, "A-B": {}}}, "share the folder 'a-b'; rename it"),
        ({"baseline": "a", "variants": {"a": {}}, "paper": {"source": "x"}}, "'paper' must say its 'source' and what"),
    ],
)
def test_a_plan_that_isnt_one_is_told(toy: Path, section: Any, said: str) -> None:
    write(toy, ablate=section)
    with pytest.raises(ConfigError, match=said) as raised:
        read_plan(toy, "ablate", trust_config=True)
    assert "experiments.json" in str(raised.value)


def test_a_plan_that_isnt_json_is_told_with_its_line(toy: Path) -> None:
    (toy / "experiments.json").write_text('{\n"ablate": ,}')
    with pytest.raises(ConfigError, match=r"experiments\.json: line 2"):
        read_section(toy, "ablate", trust_config=True)


def test_names_become_folders() -> None:
    assert slug("no FFM") == "no-ffm"
    assert slug("U-Net++") == "u-net++"
    assert slug("DeepLabv3+ (3D)/x") == "deeplabv3+-3d-x"
    assert slug("../..") == "variant"


def test_each_config_gets_the_overrides_that_it_has_a_key_for() -> None:
    root = Path(radseg.bundles.root("spine"))
    overrides = {"max_epochs": 3, "network_def#features": [4], "precision": "fast", "no_such_key": 1}
    assert overrides_for("evaluate", root, overrides) == {"network_def#features": [4], "precision": "fast"}
    # what no config knows goes where it is refused
    assert overrides_for("train", root, overrides) == {"max_epochs": 3, "network_def#features": [4], "no_such_key": 1}
