"""One label out of many."""

import pytest
import torch
from monai.data import MetaTensor

from radseg.transforms import KeepLabel, KeepLabeld

MASK = MetaTensor(
    torch.tensor([[[0, 1, 2], [2, 3, 2]]], dtype=torch.uint8), affine=torch.diag(torch.tensor([2.0, 3, 4, 1]))
)


def test_one_label_becomes_a_binary_mask() -> None:
    kept = KeepLabel(2)(MASK)
    assert kept.tolist() == [[[0, 0, 1], [1, 0, 1]]]
    assert kept.dtype == torch.uint8
    assert torch.equal(kept.affine, MASK.affine)


def test_no_label_keeps_the_mask_as_it_is() -> None:
    assert torch.equal(KeepLabel(None)(MASK), MASK)


def test_any_label_makes_one_mask_of_all() -> None:
    assert KeepLabel("any")(MASK).tolist() == [[[0, 1, 1], [1, 1, 1]]]


def test_an_absent_label_gives_an_empty_mask() -> None:
    assert not KeepLabel(9)(MASK).any()


def test_only_the_named_keys_change() -> None:
    out = KeepLabeld(["label", "absent"], 1, allow_missing_keys=True)({"label": MASK, "image": MASK})
    assert out["label"].sum() == 1
    assert torch.equal(out["image"], MASK)
    with pytest.raises(KeyError):
        KeepLabeld(["label", "absent"], 1)({"label": MASK})


@pytest.mark.parametrize("wrong", [1.5, "2", True])
def test_a_label_that_is_no_integer_is_refused_at_construction(wrong: object) -> None:
    with pytest.raises(TypeError, match="label must be"):
        KeepLabel(wrong)  # type: ignore[arg-type]
