"""What a bundle's labels are in coded terms, as its metadata.json has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.errors import ConfigError

_ANATOMY = ("91723000", "123037004", "85756007")
"""SNOMED CT: anatomical structure, body structure, tissue; the categories of anatomy in CID 7150 of all editions."""


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3 8.8), such as 51282000, SCT, "Vertebra"."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Segment:
    """One label.

    Attributes:
        number: its value in the mask, from 1.
        name: as the bundle calls it.
        category, kind: SegmentedPropertyCategoryCode and SegmentedPropertyTypeCode.
        region: AnatomicRegion, where the kind isn't anatomy itself.
        colour_rgb: how it is drawn, 0–255.
    """

    number: int
    name: str
    category: Code
    kind: Code
    region: Code | None
    colour_rgb: tuple[int, int, int]

    @property
    def site(self) -> Code | None:
        """Where in the body it is: of anatomy itself that, of a lesion its region; None where nobody says."""
        return self.region or (self.kind if self.is_anatomy else None)

    @property
    def is_anatomy(self) -> bool:
        """Whether it is a part of every body, not something found in some."""
        return self.category.value in _ANATOMY


def segments_of(bundle_root: str | Path, labels: Sequence[str]) -> tuple[Segment, ...]:
    """The bundle's labels 1, 2, … in coded terms.

    Args:
        bundle_root: its folder, whose metadata.json has "segments": name → category, type, region, colour.
        labels: names of the labels 1, 2, ….

    Raises:
        ConfigError: a label isn't described there.
    """
    file = configs(Path(bundle_root)) / "metadata.json"
    described = read_json(file).get("segments", {})
    missing = [label for label in labels if label not in described]
    if missing:
        raise ConfigError(f'{file}: no coded terms for {", ".join(map(repr, missing))} in its "segments"; add them')
    return tuple(_segment(number, name, described[name], file) for number, name in enumerate(labels, 1))


def _segment(number: int, name: str, says: Mapping[str, Any], file: Path) -> Segment:
    try:
        region = says.get("region")
        red, green, blue = (int(value) for value in says["colour"])
        return Segment(
            number, name, Code(*says["category"]), Code(*says["type"]), Code(*region) if region else None,
            (red, green, blue),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f'{file}: "segments" must give {name!r} a "category" and "type" of [code, scheme, meaning] and a "colour" '
            "of three numbers"
        ) from error
