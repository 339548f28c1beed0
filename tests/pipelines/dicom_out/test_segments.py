"""Every label of every bundle has coded terms, and codes mean what the bundles say."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom.sr.codedict import codes

import radseg.bundles
from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.dicom_out.segments import segments_of
from radseg.pipelines.errors import ConfigError

ROOTS = {name: Path(radseg.bundles.root(name)) for name in radseg.bundles.names()}
NOT_IN_PYDICOM = {"72704001": "Fracture"}
"""SNOMED CT's morphologic abnormality: no context group of DICOM has it, so pydicom's dictionary doesn't."""


def labels_of(bundle: str, **overrides: Any) -> list[str]:
    workflow = load_workflow(bundle, "inference", overrides)
    workflow.parser.parse()
    return list(workflow.parser.get_parsed_content("labels"))


@pytest.mark.parametrize(("bundle", "overrides"), [*((name, {}) for name in ROOTS), ("spine", {"out_channels": 1})])
def test_every_label_that_a_bundle_can_give_is_described(bundle: str, overrides: dict[str, Any]) -> None:
    labels = labels_of(bundle, **overrides)
    segments = segments_of(ROOTS[bundle], labels)
    assert [segment.name for segment in segments] == labels
    assert [segment.number for segment in segments] == list(range(1, len(labels) + 1))


@pytest.mark.parametrize("bundle", ROOTS)
def test_every_label_of_a_bundle_is_anatomy_or_has_a_region_of_the_body(bundle: str) -> None:
    segments = segments_of(ROOTS[bundle], labels_of(bundle))
    assert [segment.name for segment in segments if segment.site is None] == []
    assert [segment.name for segment in segments if segment.is_anatomy == (segment.region is not None)] == []


@pytest.mark.parametrize("bundle", ROOTS)
def test_codes_mean_in_dicom_s_dictionary_what_the_bundle_says(bundle: str) -> None:
    described = json.loads((ROOTS[bundle] / "metadata.json").read_text())["segments"]
    dictionary = {code.value: code.meaning for code in every_code()}
    for terms in described.values():
        for value, scheme, meaning in (terms[key] for key in ("category", "type", "region") if key in terms):
            assert scheme == "SCT"
            assert {**dictionary, **NOT_IN_PYDICOM}[value] == meaning


@pytest.mark.parametrize("bundle", ROOTS)
def test_categories_are_those_of_segmentations(bundle: str) -> None:
    described = json.loads((ROOTS[bundle] / "metadata.json").read_text())["segments"]
    categories = {code.value for name in codes.cid7150.dir() for code in [getattr(codes.cid7150, name)]}
    assert {terms["category"][0] for terms in described.values()} <= categories


def test_a_label_without_terms_is_said_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('{"segments": {"liver": {"category": ["1", "SCT"]}}}')
    with pytest.raises(ConfigError, match=r"metadata\.json: no coded terms for 'kidney'"):
        segments_of(tmp_path, ["kidney"])
    with pytest.raises(ConfigError, match="\"segments\" must give 'liver'"):
        segments_of(tmp_path, ["liver"])


def every_code() -> list[Any]:
    groups = (codes.cid7150, codes.cid7151, codes.cid7159, codes.cid7304)
    return [getattr(group, name) for group in groups for name in group.dir()]
