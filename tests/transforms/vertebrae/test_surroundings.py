"""Surroundings: lung, filled vessels and ribs appear beside the vertebrae, which stay as they are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from numbered_spine import cylinders
from scipy import ndimage

from radseg.pipelines.fingerprint import fingerprint
from radseg.transforms.vertebrae import RandSurroundVertebrae, RandSurroundVertebraed, SurroundVertebrae


def spine() -> tuple[MetaTensor, MetaTensor]:
    return cylinders(3, 2.0, 30.0).tensors


def distance_mm(labels: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(ndimage.distance_transform_edt(labels[0].numpy() == 0, [2.0] * 3))[None]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6), lung=st.floats(0, 1), vessel_mm=st.sampled_from([0.0, 4.0, 12.0]),
    rib_mm=st.sampled_from([0.0, 4.0, 7.0]), margin_mm=st.floats(1, 8),
)  # fmt: skip
def test_vertebrae_and_their_margin_stay_whatever_surrounds_them(
    seed: int, lung: float, vessel_mm: float, rib_mm: float, margin_mm: float
) -> None:
    image, labels = spine()
    other = SurroundVertebrae(seed, lung, vessel_mm, rib_mm=rib_mm, margin_mm=margin_mm)(image, labels)
    assert torch.isfinite(other).all()
    # the blur of an edge reaches one voxel of 2 mm inwards
    held = distance_mm(labels) <= max(margin_mm - 2.5, 0)
    assert (other - image)[held].abs().max() < 60


def test_lung_takes_its_share_of_what_is_free() -> None:
    image, labels = spine()
    far = distance_mm(labels) > 14
    for share in (0.25, 0.75):
        lungs = SurroundVertebrae(1, share, 0, rib_mm=0)(image, labels)
        assert float((lungs < -600)[far].float().mean()) == pytest.approx(share, abs=0.15)


def test_vessels_are_filled_and_ribs_have_walls() -> None:
    image, labels = spine()
    far = distance_mm(labels) > 6
    vessels = SurroundVertebrae(4, 0, 10.0, 320.0, 0)(image, labels)[far]
    bright = vessels[(vessels - image[far]).abs() > 150]
    assert len(bright) > 500
    assert float(bright.median()) == pytest.approx(320, abs=40)
    ribs = SurroundVertebrae(4, 0, 0, rib_mm=6.0, rib_hu=800.0)(image, labels)[far]
    assert 0.002 < float((ribs > 600).float().mean()) < 0.2
    assert ((ribs > 300) & (ribs < 500)).sum() > 100


def test_discs_and_the_canal_belong_to_the_column() -> None:
    image, labels = spine()
    air = SurroundVertebrae(2, 1.0, 0, rib_mm=0)(image, labels)
    filled = ndimage.binary_closing(labels[0].numpy() > 0, np.ones((1, 1, 9)))
    between = torch.from_numpy(filled & ~(labels[0].numpy() > 0))[None]
    inner = torch.from_numpy(ndimage.binary_erosion(filled, iterations=2))[None]
    assert (between & inner).sum() > 100
    assert torch.equal(air[between & inner], image[between & inner])


def test_bone_beside_the_vertebrae_stays() -> None:
    image, labels = spine()
    image[:, 2:8, 2:8] = 700.0
    other = SurroundVertebrae(3, 1.0, 8.0, rib_mm=5.0)(image, labels)
    assert (other[:, 4:6, 4:6, 3:-3] > 400).all()


def test_windows_integers_and_metadata() -> None:
    image, labels = spine()
    image.meta["units"] = "HU"
    other = SurroundVertebrae(5)(image, labels)
    assert isinstance(other, MetaTensor)
    assert other.meta["units"] == "HU"
    whole = SurroundVertebrae(5)(image.round().to(torch.int16), labels)
    assert whole.dtype == torch.int16
    assert (whole - other).abs().max() <= 1
    windowed = SurroundVertebrae(5, window_hu=(-200, 1200))((image.clip(-200, 1200) + 200) / 1400, labels)
    torch.testing.assert_close(windowed * 1400 - 200, other.clip(-200, 1200), atol=60, rtol=0)


def test_the_random_form_is_its_twin_and_repeats_by_seed() -> None:
    image, labels = spine()
    data = {"image": image, "label": labels}
    one, other = (RandSurroundVertebraed(prob=0.7).set_random_state(2) for _ in range(2))
    series = [one(data)["image"] for _ in range(4)]
    assert all(torch.equal(a, other(data)["image"]) for a in series)
    assert not all(torch.equal(a, series[0]) for a in series)
    single = RandSurroundVertebrae(1.0).set_random_state(1)
    made = single(image, labels)
    assert single.sampled is not None
    assert torch.equal(made, single.sampled(image, labels))
    assert torch.equal(made, single(image, labels, randomize=False))
    assert torch.equal(RandSurroundVertebrae(0.0)(image, labels), image)


def test_a_recipe_with_other_limits_is_another_recipe() -> None:
    one, other = RandSurroundVertebraed(lung=[0.2, 0.4]), RandSurroundVertebraed(lung=[0.2, 0.5])
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(RandSurroundVertebraed(lung=[0.2, 0.4]))


def test_nothing_but_shares_lengths_and_limits_is_taken() -> None:
    for wrong in ({"lung": 1.1}, {"vessel_mm": -1.0}, {"rib_mm": float("inf")}, {"margin_mm": float("nan")}):
        with pytest.raises(ValueError, match="must be a"):
            SurroundVertebrae(**wrong)
    for limits in ({"lung": (0.8, 0.2)}, {"rib_mm": (1.0, 2.0, 3.0)}):
        with pytest.raises(ValueError, match="must be \\(low, high\\)"):
            RandSurroundVertebrae(**limits)
