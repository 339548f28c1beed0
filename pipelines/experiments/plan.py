"""What a bundle's experiments.json plans: the variants of an ablation or comparison, and the paper's numbers."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import find_bundle, read_json, top_key
from radseg.pipelines.errors import ConfigError

FILE = "experiments.json"
KINDS = ("cross_validate", "ablate", "compare", "search")


@dataclass(frozen=True)
class Plan:
    """Variants of a bundle that are trained on the same folds.

    Attributes:
        baseline: the variant that the others are compared with.
        variants: config overrides of each, as `radseg train` takes them.
        overrides: those of all variants, which the user's own go before.
        paper: published numbers: "source", "on", and "variants" or "folds" and "mean", and by variant "parameters", in
            total; None where there are none.
    """

    baseline: str
    variants: Mapping[str, Mapping[str, Any]]
    paper: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def only(self, names: Iterable[str]) -> "Plan":
        """The plan with these variants alone, in their order, the baseline always among them.

        Raises:
            ConfigError: a name that isn't there (the nearest is offered).
        """
        wanted = list(names)
        for name in wanted:
            if name not in self.variants:
                nearest = difflib.get_close_matches(name, self.variants, n=1, cutoff=0.4)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(self.variants)}"
                raise ConfigError(f"no variant {name!r}: {hint}")
        kept = {name: one for name, one in self.variants.items() if name in wanted or name == self.baseline}
        return replace(self, variants=kept)


def read_plan(bundle: str | Path, kind: str, trust_config: bool = False) -> Plan:
    """The plan of a bundle for `cross_validate`, `ablate` or `compare`.

    A cross-validation has one variant, the bundle as it is, and needs no entry in experiments.json.

    Raises:
        ConfigError: an unknown kind or bundle, no such plan in it, or a plan that isn't one.
    """
    folder = find_bundle(bundle, trust_config)
    content = read_section(bundle, kind, trust_config)
    file = folder / FILE
    if kind == "cross_validate":
        return Plan(folder.name, {folder.name: {}}, _paper(file, kind, content or {}))
    if not content:
        planned = [name for name in KINDS if name != kind and read_section(bundle, name, trust_config)]
        hint = f"it plans {', '.join(planned)}" if planned else f"write one into {FILE}"
        raise ConfigError(f"{folder.name}: has no plan to {kind}; {hint}")
    variants, baseline, overrides = content.get("variants"), content.get("baseline"), content.get("overrides", {})
    if not isinstance(overrides, dict):
        raise ConfigError(f"{file}: {kind}: 'overrides' must hold an object of config overrides")
    if not isinstance(variants, dict) or not all(isinstance(one, dict) for one in variants.values()):
        raise ConfigError(f"{file}: {kind}: 'variants' must hold an object of config overrides for each name")
    if not isinstance(baseline, str) or baseline not in variants:
        raise ConfigError(f"{file}: {kind}: the baseline {baseline!r} is none of {', '.join(variants)}")
    slugs = [slug(name) for name in variants]
    for name in variants:
        if slugs.count(slug(name)) > 1:
            raise ConfigError(
                f"{file}: {kind}: {name!r} and another variant share the folder {slug(name)!r}; rename it"
            )
    return Plan(baseline, variants, _paper(file, kind, content), overrides)


def read_section(bundle: str | Path, kind: str, trust_config: bool = False) -> dict[str, Any] | None:
    """What experiments.json says of one kind of experiment; None if it says nothing of it or isn't there.

    Raises:
        ConfigError: an unknown kind or bundle, or a file that isn't JSON.
    """
    if kind not in KINDS:
        nearest = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(KINDS)}"
        raise ConfigError(f"no experiment {kind!r}: {hint}")
    file = configs(find_bundle(bundle, trust_config)) / FILE
    section = read_json(file).get(kind) if file.is_file() else None
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"{file}: {kind!r} must hold a JSON object")
    return section


def slug(name: str) -> str:
    """A variant's name as a folder's: lower case, with a dash for whatever is neither letter, digit nor plus."""
    return re.sub(r"[^\w+]+", "-", name.casefold()).strip("-") or "variant"


def overrides_for(config: str, bundle_root: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the overrides that a config gets: what it has a key for.

    `train` also gets what no config has, so that it is refused with the nearest key.

    Args:
        config: `train` or `evaluate`.
        bundle_root: folder of the bundle.
        overrides: config ids and values.
    """
    own = read_json(configs(bundle_root) / f"{config}.json")
    evaluate = own if config == "evaluate" else read_json(configs(bundle_root) / "evaluate.json")
    takes_unknown = config == "train"
    return {
        key: value
        for key, value in overrides.items()
        if top_key(key) in own or (takes_unknown and top_key(key) not in evaluate)
    }


def _paper(file: Path, kind: str, content: Mapping[str, Any]) -> dict[str, Any] | None:
    paper = content.get("paper")
    if paper is not None and not (isinstance(paper, dict) and paper.get("source") and paper.get("on")):
        raise ConfigError(f"{file}: {kind}: 'paper' must say its 'source' and what it was measured 'on'")
    return paper
