"""A coarse answer follows the image's edges; what was sure stays, what the image doesn't tell is only smoothed."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from radseg.bundles import names
from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.datalist import sample_data
from radseg.pipelines.engine import GuidedRefinement, WindowInferer, guided_by_ct
from radseg.pipelines.engine.runtime import Members
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.segment import segment


def _by_the_papers_formulas(guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Equations 5, 6 and 8 of He et al. 2013, box by box."""
    boxes = {
        place: np.s_[tuple(slice(max(0, at - radius), at + radius + 1) for at in place)]
        for place in itertools.product(*map(range, guide.shape))
    }
    slope, offset = np.zeros_like(guide), np.zeros_like(guide)
    for place, box in boxes.items():
        covariance = (guide[box] * values[box]).mean() - guide[box].mean() * values[box].mean()
        slope[place] = covariance / (guide[box].var() + epsilon)
        offset[place] = values[box].mean() - slope[place] * guide[box].mean()
    refined = np.zeros_like(guide)
    for place, box in boxes.items():
        refined[place] = slope[box].mean() * guide[place] + offset[box].mean()
    return refined


def _two_classes(image: torch.Tensor) -> torch.Tensor:
    """Logits that depend on the voxel alone."""
    return torch.cat([1 - image, image], 1)


def _three_classes(image: torch.Tensor) -> torch.Tensor:
    return torch.cat([1 - image, 4 * image, image], 1)


def _binary(refinement: GuidedRefinement, image: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    return refinement(image[None, None], probability.logit()[None, None])[0, 0].sigmoid()


@pytest.mark.parametrize("shape", [(9, 12), (5, 7, 6), (1, 8, 8)])
def test_a_box_of_voxels_is_fitted_as_the_paper_says(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(shape, generator=generator)
    probability = 0.3 + 0.4 * torch.rand(shape, generator=generator)
    refined = _binary(GuidedRefinement(2, 0.01, subsample=1, smooth=0), image, probability)
    expected = _by_the_papers_formulas(image.double().numpy(), probability.double().numpy(), 2, 0.01)
    np.testing.assert_allclose(refined.numpy(), expected, atol=1e-5)


def _ball(size: int) -> torch.Tensor:
    axis = torch.arange(size) - (size - 1) / 2
    return ((axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2) < (size / 3) ** 2).float()


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_an_answer_in_blocks_of_eight_voxels_gets_the_images_outline(noise: float) -> None:
    ball = _ball(48)
    image = 0.2 + 0.3 * ball + noise * torch.randn(ball.shape, generator=torch.Generator().manual_seed(0))
    coarse = functional.interpolate(functional.avg_pool3d(ball[None, None], 8), scale_factor=8.0)[0, 0]
    refined = _binary(GuidedRefinement(6, 0.01**2), image, coarse.clamp(0.02, 0.98))

    def dice(mask: torch.Tensor) -> float:
        return float(2 * (mask & (ball > 0)).sum() / (mask.sum() + ball.sum()))

    assert dice(coarse > 0.5) < 0.9
    assert dice(refined > 0.5) > 0.97


def _osteoporotic(size: int, shell: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A ball of bone whose core is as dark as the muscle round it, and which voxels are its core."""
    axis = torch.arange(size) - (size - 1) / 2
    distance = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2).sqrt()
    core = distance < size / 3 - shell
    return 0.2 + 0.3 * ((distance < size / 3) & ~core).float(), core


def test_a_core_as_dark_as_muscle_is_not_hollowed_out() -> None:
    image, core = _osteoporotic(48, 3)
    coarse = functional.interpolate(functional.avg_pool3d(_ball(48)[None, None], 8), scale_factor=8.0)[0, 0]
    network = coarse.clamp(0.02, 0.98)
    kept = {doubt: _binary(GuidedRefinement(8, 0.01**2, doubt=doubt), image, network)[core] for doubt in (0.0, 0.03)}
    assert (kept[0.0] > 0.5).float().mean() < 0.6
    assert (kept[0.03] > 0.5).float().mean() > 0.8


def test_an_image_that_tells_nothing_leaves_the_answer_as_it_is() -> None:
    probability = 0.1 + 0.8 * torch.rand(12, 13, 14, generator=torch.Generator().manual_seed(3))
    refined = _binary(GuidedRefinement(4, 1e-4, doubt=0.03), torch.full((12, 13, 14), 0.5), probability)
    torch.testing.assert_close(refined, probability, atol=1e-3, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_where_the_answer_is_the_same_everywhere_no_image_changes_it(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 19), min_size=2, max_size=3))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    image = data.draw(st.sampled_from([0.0, 1.0, 1000.0])) * torch.rand(shape, generator=generator)
    probability = data.draw(st.floats(0.01, 0.99))
    subsample, radius = data.draw(st.integers(1, 3)), data.draw(st.floats(1, 30))
    refined = _binary(GuidedRefinement(radius, 1e-4, subsample=subsample), image, torch.full(shape, probability))
    torch.testing.assert_close(refined, torch.full(shape, probability), atol=2e-3, rtol=0)


def test_in_a_flat_image_an_edge_of_the_answer_is_smoothed() -> None:
    probability = torch.full((8, 40), 0.1)
    probability[:, 20:] = 0.9
    refined = _binary(GuidedRefinement(4, 1e-4), torch.full((8, 40), 0.5), probability)
    profile = refined[4]
    assert (profile.diff() >= -1e-6).all()
    assert profile.diff().max() < 0.2
    torch.testing.assert_close(profile[[0, -1]], torch.tensor([0.1, 0.9]))


def test_the_classes_share_the_foreground_as_the_network_has_it() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(2, 4, 10, 11, 12, generator=generator)
    image = torch.rand(2, 1, 10, 11, 12, generator=generator)
    refined = GuidedRefinement((3, 4, 5), 1e-3)(image, logits)
    probability = refined.softmax(1)
    torch.testing.assert_close(probability.sum(1), torch.ones(2, 10, 11, 12))
    torch.testing.assert_close(refined[:, 1:].log_softmax(1), logits[:, 1:].log_softmax(1), atol=1e-4, rtol=1e-4)
    one = GuidedRefinement((3, 4, 5), 1e-3)(image, (1 - logits.softmax(1)[:, :1]).logit())
    torch.testing.assert_close(probability[:, 1:].sum(1), one[:, 0].sigmoid(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("classes", [1, 3])
def test_answers_of_several_members_are_refined_each_for_itself(classes: int) -> None:
    generator = torch.Generator().manual_seed(7)
    answers = [2 * torch.randn(1, classes, 12, 13, generator=generator) for _ in range(3)]
    image = torch.rand(1, 1, 12, 13, generator=generator)
    one = GuidedRefinement(3, 1e-3)
    together = GuidedRefinement(3, 1e-3, classes=classes)(image, torch.cat(answers, 1))
    assert torch.equal(together, torch.cat([one(image, answer) for answer in answers], 1))


def test_channels_that_are_not_whole_answers_are_refused() -> None:
    with pytest.raises(ConfigError, match="of 3 classes can't take 4 channels apart"):
        GuidedRefinement(3, 1.0, classes=3)(torch.zeros(1, 1, 8, 8), torch.zeros(1, 4, 8, 8))


@pytest.mark.parametrize("config", ["inference", "evaluate"])
def test_mirror_images_change_nothing_in_spine_where_the_network_says_the_same_of_them(config: str) -> None:
    inferer = load_workflow("spine", config, {"roi_size": [16, 16, 16]}).parser.get_parsed_content("inferer")
    image = torch.rand(1, 1, 20, 18, 16, generator=torch.Generator().manual_seed(8))

    class PointByPoint(torch.nn.Module):
        def forward(self, part: torch.Tensor) -> torch.Tensor:
            return _three_classes(part)

    alone = inferer(image, PointByPoint())
    flipped = inferer(image, Members([PointByPoint()], [(), (0,), (1, 2)]))
    for member in flipped.split(3, 1):
        torch.testing.assert_close(member, alone)


@pytest.mark.parametrize("classes", [1, 3])
def test_what_a_network_was_quite_sure_of_stays_finite(classes: int) -> None:
    logits = torch.full((1, classes, 8, 8), 200.0)
    logits[:, 0] = -200.0
    refined = GuidedRefinement(3, 1e-4)(torch.rand(1, 1, 8, 8), logits)
    assert refined.isfinite().all()


def test_half_precision_is_filtered_in_float32() -> None:
    logits = torch.randn(1, 3, 16, 16, 16, generator=torch.Generator().manual_seed(2)).bfloat16()
    image = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(2)).bfloat16()
    refined = GuidedRefinement(4, 1e-3)(image, logits)
    torch.testing.assert_close(refined, GuidedRefinement(4, 1e-3)(image.float(), logits.float()))
    assert refined.dtype == torch.float32


def test_values_beyond_the_limits_guide_as_the_limits_do() -> None:
    generator = torch.Generator().manual_seed(4)
    image, logits = 3 * torch.randn(1, 2, 20, 20, generator=generator), torch.randn(1, 1, 20, 20, generator=generator)
    refined = GuidedRefinement(3, 1e-2, -1.0, 1.0)(image, logits)
    assert torch.equal(refined, GuidedRefinement(3, 1e-2)(image[:, :1].clamp(-1, 1), logits))


def test_an_image_s_noise_is_averaged_out_before_it_guides() -> None:
    generator = torch.Generator().manual_seed(6)
    image, logits = torch.rand(1, 1, 15, 15, generator=generator), torch.randn(1, 2, 15, 15, generator=generator)
    averaged = functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    refined = GuidedRefinement(3, 1e-2, smooth=1)(image, logits)
    torch.testing.assert_close(refined, GuidedRefinement(3, 1e-2, smooth=0)(averaged, logits))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"radius": 0.5, "epsilon": 1.0}, "radius must be at least 1 voxel, got 0.5"),
        ({"radius": [3, float("nan")], "epsilon": 1.0}, "radius must be at least 1 voxel"),
        ({"radius": 3, "epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        ({"radius": 3, "epsilon": 1.0, "lower": 1.0, "upper": 1.0}, "lower below upper, got 1.0 and 1.0"),
        ({"radius": 3, "epsilon": 1.0, "subsample": 0}, "subsample must be at least 1, got 0"),
        ({"radius": 3, "epsilon": 1.0, "smooth": -1}, "smooth must be at least 0, got -1"),
        ({"radius": 3, "epsilon": 1.0, "classes": 0}, "classes must be at least 1, got 0"),
        ({"radius": 3, "epsilon": 1.0, "doubt": -0.1}, "doubt must be at least 0, got -0.1"),
    ],
)
def test_what_can_t_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GuidedRefinement(**settings)


def test_a_radius_for_other_axes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"radius \[2, 2\] on an image of 3 axes: give one each"):
        GuidedRefinement([2, 2], 1.0)(torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4))


@pytest.mark.parametrize(("slice_axis", "window"), [(None, (8, 8, 8)), (1, (8, 8))])
def test_each_window_is_refined_with_its_own_part_of_the_image(slice_axis: int | None, window: tuple[int, ...]) -> None:
    image = torch.rand(1, 1, 12, 10, 9, generator=torch.Generator().manual_seed(5))
    seen: list[tuple[int, ...]] = []

    def refine(part: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        assert torch.equal(logits[:, :1], 2 * part)
        seen.append(tuple(part.shape[2:]))
        return logits + 1

    def network(part: torch.Tensor) -> torch.Tensor:
        return torch.cat([2 * part, part], 1)

    plain = WindowInferer(window, 2, 0.5, slice_axis)(image, network)
    refined = WindowInferer(window, 2, 0.5, slice_axis, refine=refine)(image, network)
    torch.testing.assert_close(refined, plain + 1)
    assert set(seen) == {window}


@pytest.mark.parametrize("config", ["inference", "evaluate"])
def test_spine_guides_its_answer_unless_told_not_to(config: str) -> None:
    for overrides, there in (({}, True), ({"guided_mm": 0}, False), ({"spatial_dims": 2}, False)):
        refinement = load_workflow("spine", config, overrides).parser.get_parsed_content("inferer").refine
        assert isinstance(refinement, GuidedRefinement) is there
        assert there or refinement is None
    coarser = {"spacing_mm": [3.0, 1.5, 1.5]}
    refinement = load_workflow("spine", config, coarser).parser.get_parsed_content("inferer").refine
    assert refinement.radius == (8 / 3, 16 / 3, 16 / 3)
    # of -200 … 1200 HU as 0 … 1
    assert refinement.upper == pytest.approx(500 / 1400)
    assert refinement.epsilon == pytest.approx((15 / 1400) ** 2)


def test_its_hounsfield_units_are_those_of_another_window_too() -> None:
    parser = load_workflow("spine", "inference", {"window_hu": [-100.0, 900.0]}).parser
    refinement = parser.get_parsed_content("inferer").refine
    assert refinement.upper == pytest.approx(400 / 1000)
    assert refinement.epsilon == pytest.approx((15 / 1000) ** 2)
    window = parser.get_parsed_content("preprocessing").transforms[3]
    assert window({"image": torch.tensor([-100.0, 300.0, 900.0])})["image"].tolist() == pytest.approx([0, 0.4, 1])


@pytest.mark.parametrize(("slice_axis", "padded", "exact"), [(None, (8, 9, 16), (6, 9, 7)), (0, (16, 16), (9, 7))])
def test_what_a_window_has_beyond_the_image_guides_nothing(
    slice_axis: int | None, padded: tuple[int, ...], exact: tuple[int, ...]
) -> None:
    image = torch.rand(1, 1, 6, 9, 7, generator=torch.Generator().manual_seed(9))
    logits = [
        WindowInferer(window, 1, 0.5, slice_axis, refine=GuidedRefinement(3, 1e-3))(image, _two_classes)
        for window in (padded, exact)
    ]
    torch.testing.assert_close(*logits)


@pytest.mark.parametrize("config", ["inference", "evaluate"])
def test_in_slices_it_looks_round_in_the_slice(config: str) -> None:
    overrides = {"spatial_dims": 2, "guided_mm": 8, "spacing_mm": [4.0, 2.0, 1.0], "roi_size": [1, 16, 16]}
    inferer = load_workflow("spine", config, overrides).parser.get_parsed_content("inferer")
    assert inferer.refine.radius == (4, 8)
    image = torch.rand(1, 1, 3, 20, 18, generator=torch.Generator().manual_seed(8))
    assert inferer(image, _three_classes).isfinite().all()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"guided_mm": "8mm"}, "guided_mm must be a number of millimetres, 0 for no filter, got '8mm'"),
        ({"guided_mm": None}, "guided_mm must be a number of millimetres"),
        ({"guided_mm": [8, 8, 8]}, "guided_mm must be a number of millimetres"),
        ({"window_hu": [400.0, 2000.0]}, r"window_hu \[400.0, 2000.0\]: nothing of −200 to 300 HU"),
    ],
)
def test_settings_that_guide_nothing_are_named(overrides: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        segment("spine", sample_data("spine"), tmp_path, **overrides)
    assert list(tmp_path.iterdir()) == []


def test_a_window_of_air_too_guides_by_soft_tissue_and_bone_alone() -> None:
    refinement = guided_by_ct(8.0, [1.0, 1.0, 1.0], [-1200.0, 800.0], classes=3)
    assert refinement is not None
    assert (refinement.lower, refinement.upper) == pytest.approx((1000 / 2000, 1500 / 2000))


def test_a_reach_below_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"radius must be at least 1 voxel, got \[-3"):
        segment("spine", sample_data("spine"), tmp_path, guided_mm=-3)
    assert list(tmp_path.iterdir()) == []


def test_no_other_bundle_is_refined() -> None:
    others = [bundle for bundle in names() if bundle != "spine"]
    assert len(others) == 3
    for bundle in others:
        assert load_workflow(bundle, "inference").parser.get_parsed_content("inferer").refine is None
