"""From a loaded image to a mask on its grid, whatever lies between."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.transforms import AsDiscreted, Compose, Invertd, Orientationd, Spacingd

from radseg.pipelines.engine import AutocastInferer, Members, Predictor, Restore, WindowInferer, flips_of, pick_device
from radseg.pipelines.engine.locate import Found, Region
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import LoadCased, Volume


class _Threshold(torch.nn.Module):
    """Two logits: background, and anything above 0.5."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 - image, image - 0.5], 1)


def _predictor(postprocessing: Any = None) -> Predictor:
    preprocessing = Compose(
        [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", pixdim=[1.0] * 3, mode="bilinear")]
    )
    back = Compose([Invertd("pred", preprocessing, "image", nearest_interp=False), AsDiscreted("pred", argmax=True)])
    device = torch.device("cpu")
    return Predictor(LoadCased("image"), preprocessing, _Threshold(), SimpleInferer(), postprocessing or back, device)


def test_a_mask_comes_back_where_the_image_says() -> None:
    array = np.zeros((12, 20, 9), np.float32)
    array[2:8, 5:15, 3:6] = 1
    affine = np.array([[0, -2.0, 0, 7], [0, 0, 3.0, 1], [1.0, 0, 0, -4], [0, 0, 0, 1]])  # columns turned and flipped
    prediction = _predictor()(Volume(array, affine, "HU"))
    assert prediction.mask.dtype == np.uint8
    truth = array > 0
    dice = 2 * (prediction.mask[truth] == 1).sum() / (truth.sum() + prediction.mask.sum())
    assert dice > 0.9
    assert set(prediction.seconds) == {"preprocess", "network", "restore"}


def test_a_mask_of_another_shape_is_never_passed_on() -> None:
    image = Volume(np.random.default_rng(0).random((8, 8, 8), np.float32), np.diag([2.0, 2, 2, 1]), "HU")
    with pytest.raises(InputError, match="check postprocessing"):
        _predictor(AsDiscreted("pred", argmax=True))(image)


class _Finder:
    """Finds the part of a volume that begins at a voxel."""

    def __init__(self, start: tuple[int, int, int] | None) -> None:
        self.start = start

    def __call__(self, volume: Volume) -> Found:
        if self.start is None:
            return Found(None, "nothing to be seen")
        mask = np.zeros(volume.array.shape, dtype=bool)
        mask[tuple(slice(first, None) for first in self.start)] = True
        return Found(Region(mask, volume.affine_ras), "the far corner")


class _Lean(torch.nn.Module):
    """Answers by brightness, a little more where the window's first axis begins; so mirror images disagree."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        lean = torch.linspace(0.1, -0.1, image.shape[2]).reshape(-1, *[1] * (image.ndim - 3))
        return torch.cat([0.5 - image - lean, image + lean - 0.5], 1)


def _engine(network: torch.nn.Module | None = None, crop_to: int | None = None, *finders: _Finder) -> Predictor:
    return Predictor(
        LoadCased("image"),
        Compose([Orientationd("image", axcodes="RAS", labels=None)]),
        network or Members([_Threshold()]),
        WindowInferer(16, overlap=0.5) if crop_to is None else WindowInferer(-1),
        Compose([]),
        torch.device("cpu"),
        restore=Restore("softmax"),
        finders=finders,
        crop_to=crop_to,
    )


@pytest.fixture
def volume() -> Volume:
    array = np.random.default_rng(0).random((40, 32, 48), np.float32)
    return Volume(array, np.diag([-1.0, 1, 1, 1]), "HU")


def test_the_engine_gives_the_mask_of_stock_monai(volume: Volume) -> None:
    mask = _engine()(volume).mask
    assert np.array_equal(mask, volume.array > 0.5)
    assert mask.dtype == np.uint8


@pytest.mark.parametrize("crop_to", [None, 4])
def test_only_where_something_was_found_is_run_and_nothing_of_it_is_lost(volume: Volume, crop_to: int | None) -> None:
    start = (0, 20, 30)
    prediction = _engine(None, crop_to, _Finder(start))(volume)
    whole, inside = volume.array > 0.5, tuple(slice(first, None) for first in start)
    assert np.array_equal(prediction.mask[inside], whole[inside])
    assert prediction.mask.sum() < whole.sum()
    assert not prediction.mask[:, :, :8].any()
    effort = prediction.effort
    if crop_to is None:
        assert 0 < effort.windows_run < effort.windows
    else:
        assert effort.box is not None
        assert effort.box[0] == (0, 40)
        for (first, end), wanted, size in zip(effort.box[1:], start[1:], (32, 48), strict=True):
            assert wanted - 4 <= first <= wanted
            assert (end, (end - first) % 4) == (size, 0)
    assert effort.located == ("_Finder: the far corner",)


def test_a_finder_that_is_not_sure_leaves_it_to_the_next_and_at_last_to_the_whole_volume(volume: Volume) -> None:
    second = _engine(None, None, _Finder(None), _Finder((0, 0, 40)))(volume)
    assert second.effort.windows_run < second.effort.windows
    assert [line.partition(": ")[2] for line in second.effort.located] == ["nothing to be seen", "the far corner"]
    everything = _engine(None, None, _Finder(None))(volume)
    assert everything.effort.windows_run == everything.effort.windows
    assert everything.effort.located == ("_Finder: nothing to be seen",)
    assert np.array_equal(everything.mask, volume.array > 0.5)


def test_a_region_that_is_not_on_the_grid_runs_all_of_it(volume: Volume) -> None:
    class Elsewhere:
        def __call__(self, volume: Volume) -> Found:
            return Found(Region(np.zeros((4, 4, 4), dtype=bool), volume.affine_ras), "nothing")

    for crop_to in (None, 4):
        prediction = _engine(None, crop_to, Elsewhere())(volume)  # type: ignore[arg-type]
        assert np.array_equal(prediction.mask, volume.array > 0.5)


def test_a_bundle_that_inverts_by_itself_gets_all_logits_at_once(volume: Volume) -> None:
    preprocessing = Compose([Orientationd("image", axcodes="RAS", labels=None)])
    back = Compose([Invertd("pred", preprocessing, "image", nearest_interp=False), AsDiscreted("pred", argmax=True)])
    parts = LoadCased("image"), preprocessing, _Threshold(), WindowInferer(16, overlap=0.5), back, torch.device("cpu")
    prediction = Predictor(*parts, None, [_Finder((0, 0, 40))])(volume)
    assert np.array_equal(prediction.mask, volume.array > 0.5)
    assert prediction.effort.windows_run == prediction.effort.windows


def test_pictures_are_never_searched_and_a_single_window_is_always_run(volume: Volume) -> None:
    grey = Volume(volume.array, volume.affine_ras, "grey")
    assert _engine(None, None, _Finder((0, 0, 40)))(grey).effort.located == ()
    small = Volume(np.ascontiguousarray(volume.array[:16, :16, :16]), volume.affine_ras, "HU")
    assert _engine(None, None, _Finder((0, 0, 14)))(small).effort.windows_run == 1


def test_several_members_say_how_sure_they_are(volume: Volume) -> None:
    alone = _engine()(volume)
    assert alone.uncertainty is None
    assert alone.confidence is None
    together = _engine(Members([_Lean()], flips_of("flips", [0])))(volume)
    assert together.effort.members == 2
    assert np.array_equal(together.mask, volume.array > 0.5), "what leans one way and the other is straight together"
    assert together.uncertainty is not None
    certain = abs(volume.array - 0.5)
    assert np.corrcoef(together.uncertainty.ravel(), certain.ravel())[0, 1] < -0.9
    chosen = together.uncertainty[together.mask > 0]
    assert together.confidence == pytest.approx(1 - chosen.mean() / 255, abs=1e-4)


def test_an_empty_mask_has_no_confidence(volume: Volume) -> None:
    dark = Volume(volume.array * 0.1, volume.affine_ras, "HU")
    prediction = _engine(Members([_Lean()], flips_of("flips", [0])))(dark)
    assert not prediction.mask.any()
    assert prediction.confidence is None


def test_progress_counts_windows(volume: Volume) -> None:
    told: list[tuple[int, int]] = []
    effort = _engine()(volume, progress=lambda done, total: told.append((done, total))).effort
    assert told[-1] == (effort.windows_run, effort.windows_run)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_autocast_computes_in_bfloat16_and_answers_in_float32() -> None:
    seen: list[torch.dtype] = []

    def network(image: torch.Tensor) -> torch.Tensor:
        result = torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3))
        seen.append(result.dtype)
        return result

    image = torch.rand(1, 1, 8, 8)
    assert AutocastInferer(SimpleInferer(), enabled=True)(image, network).dtype == torch.float32
    assert AutocastInferer(SimpleInferer(), enabled=False)(image, network).dtype == torch.float32
    assert seen == [torch.bfloat16, torch.float32]


def test_auto_takes_what_is_there_and_nothing_else_is_guessed() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ConfigError, match="'gpu' is not known"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            pick_device("cuda")
