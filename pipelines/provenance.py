"""Where a result comes from: bundle, weights and recipe, the same in every file that is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.fingerprint import fingerprint
from radseg.pipelines.weights import sha256_of_all


@dataclass(frozen=True)
class Provenance:
    """What made a mask.

    Attributes:
        bundle: its name.
        bundle_version: from its metadata.json.
        weights_sha256: of the weights file, or over those of several (see `sha256_of_all`).
        recipe_sha256: fingerprint of preprocessing, inferer, postprocessing and statistics.
        overrides: config keys that differ from the bundle's files, as far as the verb knows them; paths left out.
    """

    bundle: str
    bundle_version: str
    weights_sha256: str
    recipe_sha256: str
    overrides: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        bundle_root: Path | str,
        weights: Path | str | Sequence[Path | str],
        recipe: object,
        overrides: Mapping[str, Any],
    ) -> "Provenance":
        """Provenance of a bundle in a folder, run with a recipe of components."""
        return cls(
            bundle=Path(bundle_root).name,
            bundle_version=read_json(configs(Path(bundle_root)) / "metadata.json")["version"],
            weights_sha256=sha256_of_all([weights] if isinstance(weights, str | Path) else weights),
            recipe_sha256=fingerprint(recipe),
            overrides=dict(overrides),
        )
