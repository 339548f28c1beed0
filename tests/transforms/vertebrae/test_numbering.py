"""Numbered maps become the spine bundle's labels."""

import pytest
import torch
from monai.data import MetaTensor

from radseg.transforms.vertebrae import VertebraLabels, VertebraLabelsd

MAP = torch.tensor([[[0, 1, 2], [101, 119, 128], [201, 224, 20]]], dtype=torch.uint8)


def test_numbers_become_vertebra_and_fractured_vertebra() -> None:
    assert VertebraLabels()(MAP).tolist() == [[[0, 1, 2], [1, 1, 1], [2, 2, 20]]]


def test_fractures_alone_become_one_label() -> None:
    assert VertebraLabels(fractures_only=True)(MAP).tolist() == [[[0, 0, 1], [0, 0, 0], [1, 1, 0]]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32])
def test_dtype_metadata_and_the_given_map_are_kept(dtype: torch.dtype) -> None:
    given = MetaTensor(MAP.to(dtype), meta={"name": "a"})
    out = VertebraLabels()(given)
    assert out.dtype == dtype
    assert out.meta["name"] == "a"
    assert torch.equal(given.as_tensor(), MAP.to(dtype))


def test_the_dictionary_form_names_its_keys() -> None:
    out = VertebraLabelsd(["label", "absent"], allow_missing_keys=True)({"label": MAP, "image": MAP})
    assert torch.equal(out["label"].as_tensor(), VertebraLabels()(MAP).as_tensor())
    assert out["image"] is MAP
    with pytest.raises(KeyError):
        VertebraLabelsd("absent")({"label": MAP})
