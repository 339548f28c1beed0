"""Random fractures: sampled, then made by the deterministic twin."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from numbered_spine import anatomical, cylinders

from radseg.pipelines.fingerprint import fingerprint
from radseg.transforms.vertebrae import RandFractureVertebra, RandFractureVertebrad, VertebraLabelsd
from radseg.transforms.vertebrae.compression import GENANT_LOSS


def lumbar() -> dict[str, MetaTensor]:
    """Cylinders numbered as L1 to L5."""
    image, labels = cylinders().tensors
    return {"image": image, "label": torch.where(labels > 0, 225 - labels, labels)}  # 101 is L5, 124


def test_the_same_seed_makes_the_same_fractures() -> None:
    def made(seed: int) -> list[torch.Tensor]:
        fracture = RandFractureVertebrad(prob=0.7, most=1).set_random_state(seed)
        return [one for _ in range(2) for one in fracture(lumbar()).values()]

    assert all(torch.equal(one, other) for one, other in zip(made(1), made(1), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(made(1), made(2), strict=True))


def test_the_random_form_is_its_twin_with_what_was_sampled() -> None:
    data = lumbar()
    fracture = RandFractureVertebra(1.0, most=2).set_random_state(5)
    image, labels = fracture(data["image"], data["label"])
    again = data["image"], data["label"]
    assert 1 <= len(fracture.fractures) <= 2
    for one in fracture.fractures:
        again = one(*again)
    assert torch.equal(image, again[0])
    assert torch.equal(labels, again[1])
    repeated = fracture(data["image"], data["label"], randomize=False)
    assert torch.equal(repeated[0], image)


def test_fractures_keep_to_the_forms_grades_and_number_asked_for() -> None:
    affine, labels = cylinders().affine, lumbar()["label"][0].numpy()
    sampler = RandFractureVertebra(1.0, 3, ("wedge", "crush"), (1, 3)).set_random_state(0)
    numbers = set()
    for _ in range(8):
        sampler.randomize((labels, affine))
        numbers.add(len(sampler.fractures))
        assert len({one.vertebra for one in sampler.fractures}) == len(sampler.fractures)
        for one in sampler.fractures:
            assert one.kind in ("wedge", "crush")
            assert any(GENANT_LOSS[grade][0] <= one.loss <= GENANT_LOSS[grade][1] for grade in (1, 3))
            assert one.label == one.vertebra + 100
    assert numbers == {1, 2, 3}


def test_cut_cervical_fractured_and_unnumbered_vertebrae_are_never_chosen() -> None:
    image, labels = cylinders().tensors
    # from below: cut by the edge, a fractured L4, L3, one that isn't told apart, a cervical one
    numbers = {101: 124, 102: 223, 103: 122, 104: 1, 105: 105}
    named = labels.clone()
    for old, new in numbers.items():
        named[labels == old] = new
    fracture = RandFractureVertebra(1.0, most=5).set_random_state(0)
    for _ in range(3):
        _, changed = fracture(image[..., 12:], named[..., 12:])
        assert [one.vertebra for one in fracture.fractures] == [122]
        assert set(changed.unique().tolist()) == {0, 1, 105, 124, 222, 223}


def test_a_vertebra_that_cannot_break_after_the_fractures_before_it_stays_intact() -> None:
    image, labels = cylinders(5, 3.0).tensors
    labels = torch.where(labels > 0, 225 - labels, labels)
    # voxels of 3 mm: once the others have moved it by a part of one, grade 1 can't be shown any more
    sampler = RandFractureVertebra(1.0, 4, ("wedge", "crush"), (1,)).set_random_state(4)
    sampler.randomize((labels[0].numpy(), labels.affine.numpy()))
    assert len(sampler.fractures) == 4
    changed, named = sampler.set_random_state(4)(image, labels)
    assert len(sampler.fractures) == 3
    assert set(named[named > 200].tolist()) == {one.label for one in sampler.fractures}
    repeated = sampler(image, labels, randomize=False)
    assert torch.equal(repeated[0], changed)
    assert torch.equal(repeated[1], named)


def test_nothing_to_break_and_probability_zero_change_nothing() -> None:
    image, labels = cylinders().tensors
    plain = (labels > 0).to(torch.uint8)
    for prob, named in ((1.0, plain), (0.0, lumbar()["label"])):
        out = RandFractureVertebrad(prob=prob).set_random_state(0)({"image": image, "label": named})
        assert torch.equal(out["image"], image)
        assert torch.equal(out["label"], named)


def test_a_map_that_is_not_numbered_is_refused_before_it_is_taken_for_one() -> None:
    image, labels = cylinders().tensors
    verse = torch.where(labels > 0, labels - 81, labels)  # 20 to 24, as VerSe has them
    with pytest.raises(ValueError, match="holds 20, which is no vertebra; number"):
        RandFractureVertebra(1.0)(image, verse)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"most": 0}, "most"),
        ({"kinds": ()}, "kinds"),
        ({"kinds": ("burst",)}, "kinds"),
        ({"grades": (0,)}, "grades"),
        ({"window_hu": (5, 1)}, "window_hu"),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandFractureVertebrad(**arguments)  # type: ignore[arg-type]


def test_floating_labels_of_plain_tensors_work_in_a_chain() -> None:
    data = {key: torch.as_tensor(np.asarray(one)).float() for key, one in lumbar().items()}
    chain = Compose(
        [RandFractureVertebrad(prob=1.0, most=1, spacing_mm=(1.5, 1.5, 1.5)), VertebraLabelsd("label")]
    ).set_random_state(seed=4)
    out = chain(data)
    assert out["label"].dtype == torch.float32
    assert set(out["label"].unique().tolist()) == {0.0, 1.0, 2.0}


def test_a_recipe_that_ran_is_the_recipe_that_it_was() -> None:
    fracture = RandFractureVertebrad(prob=1.0, most=1)
    before = fingerprint(fracture)
    fracture(lumbar())
    assert fingerprint(fracture) == before
    assert fingerprint(RandFractureVertebrad(prob=0.5, most=1)) != before


def test_a_flat_vertebra_is_measured_and_can_break_no_further_than_it_may() -> None:
    spine = anatomical()
    image, labels = spine.tensors
    twice = RandFractureVertebra(1.0, 1, ("crush",), (3,)).set_random_state(0)
    first_image, first = twice(image, labels)
    second_image, second = twice(first_image, first)
    assert second_image.isfinite().all()
    assert int((second > 200).sum()) > 0
    assert len(set(second[second > 200].tolist())) == 2
