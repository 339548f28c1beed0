"""Osteoporosis: mineral leaves the vertebrae, the spongy bone's first."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from numbered_spine import cylinders
from scipy import ndimage

from radseg.pipelines.fingerprint import fingerprint
from radseg.transforms.vertebrae import (
    RandSimulateOsteoporosis,
    RandSimulateOsteoporosisd,
    SimulateOsteoporosis,
    SimulateOsteoporosisd,
)


def spine() -> tuple[MetaTensor, MetaTensor]:
    """Cylinders with a cortex of 700 HU, 2 mm thick, around 180."""
    image, labels = cylinders().tensors
    depth = ndimage.distance_transform_edt(labels[0].numpy() > 0) * 1.5
    return image + 520 * torch.from_numpy((depth > 0) & (depth < 2.5))[None], labels


def test_spongy_bone_comes_to_muscle_density_and_the_cortex_keeps_its_share() -> None:
    image, labels = spine()
    thin = SimulateOsteoporosis(trabecular_hu=50.0, cortex=0.6)(image, labels)
    depth = torch.from_numpy(ndimage.distance_transform_edt(labels[0].numpy() > 0) * 1.5)[None]
    core, shell = depth > 4.0, (depth > 0) & (depth < 2.5)
    assert float(image[core].median()) == pytest.approx(180, abs=3)
    assert float(thin[core].median()) == pytest.approx(50, abs=2)
    # (700 + 80) · .6 − 80 = 388 at most: half a wall's voxel blends into what is around
    assert 200 < float(thin[shell].median()) < 560
    assert float(thin[shell].median()) < 0.8 * float(image[shell].median())


def test_a_weaker_cortex_is_darker_and_never_below_the_spongy_bone() -> None:
    image, labels = spine()
    shell = (image > 600) & (labels > 0)
    means = [float(SimulateOsteoporosis(50.0, cortex)(image, labels)[shell].mean()) for cortex in (1.0, 0.7, 0.4, 0.1)]
    assert means == sorted(means, reverse=True)
    assert means[-1] > 150


def test_soft_tissue_away_from_bone_is_untouched() -> None:
    image, labels = spine()
    thin = SimulateOsteoporosis()(image, labels)
    far = torch.from_numpy(ndimage.distance_transform_edt(labels[0].numpy() == 0) * 1.5)[None] > 5
    assert (thin - image)[far].abs().max() < 1
    assert torch.equal(thin[..., :2], image[..., :2])


def test_bone_that_is_no_denser_stays_as_it_is() -> None:
    image, labels = spine()
    assert torch.equal(SimulateOsteoporosis(trabecular_hu=300.0)(image, labels), image)
    assert torch.equal(SimulateOsteoporosis()(image, torch.zeros_like(labels)), image)


def test_windows_integers_and_metadata() -> None:
    image, labels = spine()
    image.meta["units"] = "HU"
    thin = SimulateOsteoporosis()(image, labels)
    assert isinstance(thin, MetaTensor)
    assert thin.meta["units"] == "HU"
    windowed = SimulateOsteoporosis(window_hu=(-200, 1200))((image + 200) / 1400, labels)
    torch.testing.assert_close(windowed * 1400 - 200, thin, atol=0.1, rtol=0)
    whole = SimulateOsteoporosis()(image.round().to(torch.int16), labels)
    assert whole.dtype == torch.int16
    assert (whole - thin).abs().max() <= 2


def test_the_random_form_is_its_twin_and_repeats_by_seed() -> None:
    image, labels = spine()
    data = {"image": image, "label": labels}
    one, other = (RandSimulateOsteoporosisd(prob=0.6).set_random_state(2) for _ in range(2))
    series = [one(data)["image"] for _ in range(4)]
    assert all(torch.equal(a, other(data)["image"]) for a in series)
    assert not all(torch.equal(a, series[0]) for a in series)
    single = RandSimulateOsteoporosis(1.0, (30, 40), (0.5, 0.6)).set_random_state(1)
    thin = single(image, labels)
    assert single.sampled is not None
    assert 30 <= single.sampled.trabecular_hu <= 40
    assert 0.5 <= single.sampled.cortex <= 0.6
    assert torch.equal(thin, single.sampled(image, labels))
    assert torch.equal(thin, single(image, labels, randomize=False))
    assert torch.equal(RandSimulateOsteoporosis(0.0)(image, labels), image)


def test_the_dictionary_form_leaves_the_map_alone() -> None:
    image, labels = spine()
    out = SimulateOsteoporosisd()({"image": image, "label": labels})
    assert torch.equal(out["image"], SimulateOsteoporosis()(image, labels))
    assert out["label"] is labels


def test_a_recipe_that_ran_is_the_recipe_that_it_was() -> None:
    image, labels = spine()
    thin = RandSimulateOsteoporosis(1.0)
    before = fingerprint(thin)
    thin(image, labels)
    assert fingerprint(thin) == before


def test_what_cannot_be_is_refused() -> None:
    image, labels = spine()
    for wrong in ({"trabecular_hu": -80.0}, {"cortex": 0.0}, {"cortex": 1.2}, {"window_hu": (3, 3)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SimulateOsteoporosis(**wrong)  # type: ignore[arg-type]
    for wrong in ({"trabecular_hu": (90, 20)}, {"cortex": (0.0, 0.5)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RandSimulateOsteoporosis(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="spacing_mm"):
        SimulateOsteoporosis()(torch.as_tensor(np.asarray(image)), torch.as_tensor(np.asarray(labels)))
