"""From logits to a mask on the source's grid: what softmax, Invertd and argmax give, in the memory of a few planes."""

import itertools
import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    Flip,
    Flipd,
    Invertd,
    Orientationd,
    Resized,
    Spacing,
    Spacingd,
)

from radseg.bundles import root
from radseg.pipelines.engine.axis_map import AxisMap
from radseg.pipelines.engine.restore import Restore, Restored
from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.engine.slabs_to_source import SlabsToSource
from radseg.pipelines.errors import ConfigError
from radseg.transforms import CleanLabeld, ResampleToSpacingd, ResizeSlicesd

TURNS = [(axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]
PLAIN = ResampleToSpacingd("image", 1.5)


def bundle_preprocessing(bundle: str, **overrides: Any) -> Compose:
    """A bundle's own, as its inference.json has it."""
    parser = ConfigParser()
    parser.read_config(f"{root(bundle)}/inference.json")
    parser["imports"] = None
    parser.update(overrides)
    preprocessing: Compose = parser.get_parsed_content("preprocessing")
    return preprocessing


def affine_of(turn: Any, spacing: tuple[float, ...]) -> torch.Tensor:
    axes, signs = turn
    affine = torch.zeros(4, 4, dtype=torch.float64)
    for column, (axis, sign, mm) in enumerate(zip(axes, signs, spacing, strict=True)):
        affine[axis, column] = sign * mm
    affine[0, :3] += 0.05  # a little oblique
    affine[:, 3] = torch.tensor([3.0, -20, 7, 1])
    return affine


def prepared(transform: Any, shape: tuple[int, ...], affine: torch.Tensor | None = None, seed: int = 0) -> MetaTensor:
    values = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)) * 1000 - 500
    placed = MetaTensor(values, affine=affine_of(TURNS[0], (1.0, 1.2, 2.0)) if affine is None else affine)
    image: MetaTensor = transform({"image": placed})["image"]
    return image


def blobs(classes: int, shape: tuple[int, ...], seed: int = 0, background: float = 0.0) -> torch.Tensor:
    """Logits that change smoothly from voxel to voxel."""
    coarse = torch.randn(1, classes, *(max(2, n // 4) for n in shape), generator=torch.Generator().manual_seed(seed))
    logits = F.interpolate(coarse, size=shape, mode="trilinear")[0] * 4
    logits[0] += background
    return logits


def sliced(logits: torch.Tensor, axis: int, cuts: list[int], covered: torch.Tensor | None = None) -> Iterator[Slab]:
    n = logits.shape[axis + 1]
    ends = sorted({0, *(cut % n for cut in cuts), n})
    for start, stop in itertools.pairwise(ends):
        part = None if covered is None else covered.narrow(axis, start, stop - start)
        yield Slab(axis, start, stop, logits.narrow(axis + 1, start, stop - start).clone(), part)


def stock(logits: torch.Tensor, image: MetaTensor, transform: Any, discrete: bool = True) -> MetaTensor:
    """MONAI's own way."""
    several = len(logits) > 1
    steps: list[Any] = [
        Activationsd("pred", softmax=several, sigmoid=not several),
        Invertd("pred", transform, "image", nearest_interp=False),
    ]
    if discrete:
        steps.append(AsDiscreted("pred", argmax=several, threshold=None if several else 0.5))
    pred = MetaTensor(logits.clone()).copy_meta_from(image)
    back: MetaTensor = Compose(steps)({"image": image, "pred": pred})["pred"]
    return back


def assert_same_labels(ours: MetaTensor, theirs: MetaTensor) -> None:
    """The same but for voxels on the very border of two labels, which sums in another order may move."""
    assert ours.shape == theirs.shape
    assert ours.dtype == torch.uint8
    assert int((ours.as_tensor() != theirs.as_tensor()).sum()) <= max(1, 2e-5 * theirs.numel())
    torch.testing.assert_close(ours.affine, theirs.affine, rtol=0, atol=1e-9)


@contextmanager
def without_boxes() -> Iterator[None]:
    """Every class is interpolated everywhere, as if weights could be below zero."""
    construct = AxisMap.__init__

    def wary(self: AxisMap, *arguments: Any) -> None:
        construct(self, *arguments)
        self.convex = False

    with mock.patch.object(AxisMap, "__init__", wary):
        yield


def activation_of(classes: int) -> Any:
    return "softmax" if classes > 1 else "sigmoid"


@pytest.fixture(scope="module")
def preprocessings() -> dict[str, Compose]:
    return {
        "spine": bundle_preprocessing("spine"),
        "lung_ct": bundle_preprocessing("lung_ct", image_size=24),
        "shrunk": Compose([Orientationd("image", axcodes="LPS", labels=None), ResizeSlicesd("image", (9, 40))]),
    }


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["spine", "lung_ct", "shrunk"]),
    turn=st.sampled_from(TURNS),
    spacing=st.tuples(*[st.floats(0.6, 4.0)] * 3),
    shape=st.tuples(*[st.integers(4, 24)] * 3),
    axis=st.integers(0, 2),
    cuts=st.lists(st.integers(1, 60), max_size=4),
    classes=st.sampled_from([1, 2, 3, 6]),
    background=st.sampled_from([0.0, 3.0, 9.0]),
    seed=st.integers(0, 99),
)
def test_a_mask_is_what_monai_makes_of_the_logits(
    preprocessings: dict[str, Compose],
    name: str,
    turn: Any,
    spacing: tuple[float, ...],
    shape: tuple[int, ...],
    axis: int,
    cuts: list[int],
    classes: int,
    background: float,
    seed: int,
) -> None:
    transform = preprocessings[name]
    image = prepared(transform, shape, affine_of(turn, spacing), seed)
    logits = blobs(classes, tuple(image.shape[1:]), seed, background if classes > 1 else -background)
    theirs = stock(logits, image, transform)
    ours = Restore(activation_of(classes))(sliced(logits, axis, cuts), image).pred
    assert_same_labels(ours, theirs)
    with without_boxes():
        everywhere = Restore(activation_of(classes))(sliced(logits, axis, cuts), image).pred
    assert int((ours.as_tensor() != everywhere.as_tensor()).sum()) <= 1


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("classes", [1, 25])
def test_boxes_change_no_voxel(axis: int, classes: int) -> None:
    image = prepared(PLAIN, (40, 36, 20))
    logits = blobs(classes, tuple(image.shape[1:]), background=5.0 if classes > 1 else -3.0)
    ours = Restore(activation_of(classes))(sliced(logits, axis, [7, 8]), image).pred
    with without_boxes():
        everywhere = Restore(activation_of(classes))(sliced(logits, axis, [7, 8]), image).pred
    assert torch.equal(ours, everywhere)
    assert 0 < float((ours > 0).float().mean()) < 0.9


def test_where_all_is_background_nothing_is_interpolated() -> None:
    image = prepared(PLAIN, (20, 20, 20))
    logits = torch.zeros(4, *image.shape[1:])
    logits[0] = 3
    with mock.patch.object(SlabsToSource, "_at_source") as at_source:
        pred = Restore("softmax")(sliced(logits, 2, [5]), image).pred
    assert not at_source.called
    assert not pred.any()


def test_a_tie_of_probabilities_that_is_none_of_logits_changes_nothing_beside_a_box() -> None:
    resample = ResampleToSpacingd("image", 2.0)
    image = prepared(resample, (24, 24, 24), torch.eye(4, dtype=torch.float64))
    logits = torch.zeros(2, 12, 12, 12)
    logits[1] = -9.0
    logits[1, 4:6, 4:6, 4:6] = 9.0
    logits[:, 5, 5, 6] = torch.tensor([1e-8, 0.0])  # background leads, by less than float32's softmax shows
    ours = Restore("softmax")(sliced(logits, 0, [0, 12]), image).pred
    assert_same_labels(ours, stock(logits, image, resample))
    assert ours.any()


def test_equal_probabilities_go_to_the_lower_class_and_the_threshold_belongs_to_the_mask() -> None:
    image = prepared(PLAIN, (10, 10, 10))
    logits = torch.zeros(3, *image.shape[1:])
    logits[0] = -1
    assert (Restore("softmax")(sliced(logits, 0, []), image).pred == 1).all()
    assert (Restore("sigmoid", threshold=0.5)(sliced(logits[1:2], 0, []), image).pred == 1).all()
    assert not Restore("sigmoid", threshold=0.51)(sliced(logits[1:2], 0, []), image).pred.any()


@pytest.mark.parametrize("bundle", ["lung_xray", "pelvis_xray"])
def test_a_radiographs_probability_is_monais(bundle: str) -> None:
    transform = bundle_preprocessing(bundle, image_size=48)
    image = prepared(transform, (90, 70, 1), affine_of(TURNS[9], (0.2, 0.2, 1.0)))
    logits = blobs(1, tuple(image.shape[1:]))
    theirs = stock(logits, image, transform, discrete=False)
    for axis in range(3):
        ours = Restore("sigmoid", output="probability")(sliced(logits, axis, [20]), image).pred
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.affine, theirs.affine)


def test_probabilities_of_several_classes_come_back_together() -> None:
    image = prepared(PLAIN, (12, 14, 9))
    logits = blobs(3, tuple(image.shape[1:]))
    ours = Restore("softmax", output="probability")(sliced(logits, 1, [4]), image).pred
    theirs = stock(logits, image, Compose([PLAIN]), discrete=False)
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_what_no_window_covered_is_background_before_it_is_interpolated(classes: int) -> None:
    image = prepared(PLAIN, (16, 18, 14))
    logits = blobs(classes, tuple(image.shape[1:])) + 1
    covered = torch.ones(image.shape[1:], dtype=torch.bool)
    covered[:, :9] = False
    ours = Restore(activation_of(classes))(sliced(logits, 0, [3], covered), image).pred
    certain = torch.where(covered, logits, -60.0)
    if classes > 1:
        certain[0][~covered] = 60
    assert_same_labels(ours, stock(certain, image, Compose([PLAIN])))


def test_a_grid_that_is_the_sources_own_is_only_labelled() -> None:
    image = MetaTensor(torch.zeros(1, 9, 8, 7), affine=affine_of(TURNS[3], (1.0, 2.0, 3.0)))
    logits = blobs(4, (9, 8, 7))
    before = logits.clone()
    slab = Slab(1, 0, 8, logits)
    assert torch.equal(Restore("softmax")([slab], image).pred[0].as_tensor(), logits.argmax(0).to(torch.uint8))
    assert torch.equal(logits, before)


def test_more_than_256_classes_take_two_bytes() -> None:
    image = prepared(PLAIN, (4, 5, 6))
    logits = torch.zeros(300, *image.shape[1:])
    logits[299] = 9
    pred = Restore("softmax")(sliced(logits, 0, []), image).pred
    assert pred.dtype == torch.uint16
    assert (pred.numpy() == 299).all()


def test_members_are_averaged_as_probabilities() -> None:
    image = prepared(PLAIN, (14, 15, 16))
    shape = tuple(image.shape[1:])
    members = [blobs(3, shape, seed) for seed in range(3)]
    result = Restore("softmax")(sliced(torch.cat(members), 2, [5, 11]), image, members=3)
    mean = torch.stack([member.softmax(0) for member in members]).mean(0)
    assert_same_labels(result.pred, stock(mean.log(), image, Compose([PLAIN])))
    assert result.uncertainty is not None
    assert Restore("softmax")(sliced(members[0], 2, [5]), image).uncertainty is None


@pytest.mark.parametrize("measure", ["entropy", "disagreement"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_uncertainty_is_a_map_on_the_sources_grid(measure: Any, axis: int) -> None:
    image = prepared(PLAIN, (14, 15, 16))
    shape = tuple(image.shape[1:])
    logits = torch.cat([blobs(2, shape, seed) for seed in range(2)])
    found = Restore("softmax", uncertainty=measure)(sliced(logits, axis, [4]), image, members=2).uncertainty
    each = [member.softmax(0) for member in logits.chunk(2)]
    entropies = [torch.special.entr(p).sum(0) / np.log(2) for p in (sum(each) / 2, *each)]
    wanted = entropies[0] - (entropies[1] + entropies[2]) / 2 if measure == "disagreement" else entropies[0]
    wanted = F.interpolate(wanted[None, None], size=(14, 15, 16), mode="trilinear")[0, 0]
    assert found is not None
    assert found.dtype == torch.uint8
    assert (found.float() / 255 - wanted).abs().max() < 0.5 / 255 + 1e-5


def test_uncertainty_turns_with_the_image_and_is_zero_where_nothing_ran() -> None:
    transform = Compose([Orientationd("image", axcodes="SPR", labels=None)])
    image = prepared(transform, (6, 7, 8))
    logits = torch.zeros(2, *image.shape[1:])  # undecided
    logits[:, 0], logits[:, :, 0] = 90, 90  # but for two sides
    covered = torch.ones(image.shape[1:], dtype=torch.bool)
    covered[..., 0] = False
    found = Restore("sigmoid")(sliced(logits, 0, [2], covered), image, members=2).uncertainty
    expected = stock(torch.where(covered & (logits[0] == 0), 0.0, 90.0)[None], image, transform, discrete=False)
    assert found is not None
    assert torch.equal(found, ((1 - expected.as_tensor()[0]) * 2 * 255).round().to(torch.uint8))


GENERAL = Compose([Flipd("image", 0), Spacingd("image", (1.5, 1.5, 1.5), mode="bilinear")])


@pytest.mark.parametrize("classes", [1, 3])
def test_ways_that_cannot_be_read_are_gone_by_the_transform_itself(classes: int) -> None:
    image = prepared(GENERAL, (14, 15, 16))
    logits = blobs(classes, tuple(image.shape[1:]))
    restore = Restore(activation_of(classes), transform=GENERAL)
    assert_same_labels(restore(sliced(logits, 1, [4, 9]), image).pred, stock(logits, image, GENERAL))
    probability = Restore(activation_of(classes), output="probability", transform=GENERAL)
    theirs = stock(logits, image, GENERAL, discrete=False)
    ours = probability(sliced(logits, 0, [4]), image).pred.as_tensor()
    torch.testing.assert_close(ours, theirs.as_tensor(), rtol=0, atol=1e-6)


def test_the_transforms_own_way_serves_members_too() -> None:
    image = prepared(GENERAL, (14, 15, 16))
    logits = torch.cat([blobs(2, tuple(image.shape[1:]), seed) for seed in range(2)])
    result = Restore("softmax", transform=GENERAL)(sliced(logits, 2, [4]), image, members=2)
    mean = torch.stack([member.softmax(0) for member in logits.chunk(2)]).mean(0)
    assert_same_labels(result.pred, stock(mean.log(), image, GENERAL))
    assert result.uncertainty is not None
    assert result.uncertainty.shape == (14, 15, 16)


def test_a_transform_without_keys_is_known_too() -> None:
    transform = Compose([Flip(0), Spacing((1.5, 1.5, 1.5), mode="bilinear")])
    image = transform(MetaTensor(torch.rand(1, 14, 15, 16), affine=affine_of(TURNS[0], (1.0, 1.2, 2.0))))
    logits = blobs(3, tuple(image.shape[1:]))
    ours = Restore("softmax", transform=transform)(sliced(logits, 0, []), image).pred
    keyed = Compose([Flipd("image", 0), Spacingd("image", (1.5, 1.5, 1.5), mode="bilinear")])
    there = prepared(keyed, (14, 15, 16))
    assert_same_labels(ours, stock(logits, there, keyed))


def test_a_way_that_cannot_be_read_needs_its_transform() -> None:
    image = prepared(GENERAL, (8, 8, 8))
    with pytest.raises(ConfigError, match=r"Flip.*SpatialResample.*give the preprocessing"):
        Restore("softmax")(sliced(blobs(2, tuple(image.shape[1:])), 0, []), image)


def test_restored_stands_where_three_transforms_stood() -> None:
    transform = Compose(
        [Orientationd("image", axcodes="PLS", labels=None), Resized("image", (20, 20, -1), mode="trilinear")]
    )
    image = prepared(transform, (30, 25, 9))
    logits = blobs(3, tuple(image.shape[1:]))
    clean = CleanLabeld("pred", min_volume_mm3=20.0)
    ours = Compose([Restored("pred", "softmax"), clean])({"image": image, "pred": logits})["pred"]
    theirs = clean({"pred": stock(logits, image, transform)})["pred"]
    assert_same_labels(ours, theirs.to(torch.uint8))
    assert ours.applied_operations == []


def test_restored_takes_any_transform_when_it_is_given_it() -> None:
    image = prepared(GENERAL, (14, 15, 16))
    logits = blobs(1, tuple(image.shape[1:]))
    restored = Restored("pred", "sigmoid", GENERAL, output="probability")
    ours = restored({"image": image, "pred": MetaTensor(logits)})["pred"]
    torch.testing.assert_close(ours.as_tensor(), stock(logits, image, GENERAL, False).as_tensor(), rtol=0, atol=1e-6)
    with pytest.raises(TypeError, match="must be a MetaTensor"):
        restored({"image": torch.rand(1, 8, 8, 8), "pred": logits})


def test_labels_lie_in_memory_as_nifti_has_them() -> None:
    image = prepared(bundle_preprocessing("spine"), (12, 13, 14), affine_of(TURNS[20], (1.0, 1.2, 2.0)))
    pred = Restore("softmax")(sliced(blobs(2, tuple(image.shape[1:])), 0, []), image).pred
    assert pred[0].numpy().flags.f_contiguous


def test_a_slab_is_let_go_before_the_next_is_asked_for() -> None:
    image = prepared(PLAIN, (20, 20, 20))
    logits = blobs(2, tuple(image.shape[1:]))
    alive: list[weakref.ref[torch.Tensor]] = []

    def slabs() -> Iterator[Slab]:
        for start in range(0, logits.shape[1], 4):
            assert all(reference() is None for reference in alive)
            part = logits[:, start : start + 4].clone()
            alive.append(weakref.ref(part))
            slab = Slab(0, start, start + part.shape[1], part)
            del part
            yield slab
            del slab

    Restore("softmax")(slabs(), image)
    assert len(alive) > 2


def test_autocast_around_it_changes_nothing() -> None:
    image = prepared(PLAIN, (20, 20, 20))
    logits = blobs(3, tuple(image.shape[1:]))
    plain = Restore("softmax")(sliced(logits, 0, [5]), image).pred
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Restore("softmax")(sliced(logits, 0, [5]), image).pred, plain)


def test_the_number_of_threads_is_as_it_was_even_after_an_error() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        image = prepared(PLAIN, (8, 8, 8))
        with mock.patch.object(SlabsToSource, "_take", side_effect=MemoryError), pytest.raises(MemoryError):
            Restore("softmax")(sliced(blobs(2, tuple(image.shape[1:])), 0, []), image)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slabs_on_a_gpu_give_the_same_mask(axis: int) -> None:
    image = prepared(PLAIN, (40, 36, 20))
    logits = torch.cat([blobs(3, tuple(image.shape[1:]), seed, 2.0) for seed in range(2)])
    for members in (1, 2):
        cpu = Restore("softmax")(sliced(logits, axis, [7]), image, members)
        cuda = Restore("softmax")(sliced(logits.cuda(), axis, [7]), image, members)
        assert int((cpu.pred != cuda.pred).sum()) <= 1
        if cpu.uncertainty is not None and cuda.uncertainty is not None:
            assert (cpu.uncertainty.int() - cuda.uncertainty.int()).abs().max() <= 1


def _slab(start: int, stop: int, channels: int = 2, axis: int = 0, size: int = 6) -> Slab:
    shape = [size] * 3
    shape[axis] = stop - start
    return Slab(axis, start, stop, torch.zeros(channels, *shape))


@pytest.mark.parametrize(
    "slabs",
    [
        [],
        [_slab(0, 4)],
        [_slab(0, 4), _slab(5, 6)],
        [_slab(2, 6)],
        [_slab(0, 6, size=7)],
        [_slab(0, 3), _slab(3, 6, axis=1)],
    ],
    ids=["none", "too few", "a gap", "a late start", "another grid", "another axis"],
)
@pytest.mark.parametrize("transform", [None, GENERAL], ids=["axis by axis", "by the transform"])
def test_slabs_that_do_not_make_up_the_grid_are_refused(slabs: list[Slab], transform: Any) -> None:
    image = MetaTensor(torch.zeros(1, 6, 6, 6), affine=torch.eye(4))
    if transform is not None:
        image = Flip(0)(image)
    with pytest.raises(ValueError, match="slab"):
        Restore("softmax", transform=transform)(slabs, image)


@pytest.mark.parametrize(
    ("arguments", "channels", "members", "message"),
    [
        (("softmax",), 3, 2, "can't be those of 2 members"),
        (("softmax",), 1, 1, "use sigmoid"),
        (("sigmoid",), 2, 1, "use softmax"),
    ],
    ids=["members", "one class of softmax", "classes that overlap"],
)
def test_channels_that_make_no_labels_are_refused(arguments: Any, channels: int, members: int, message: str) -> None:
    image = MetaTensor(torch.zeros(1, 6, 6, 6), affine=torch.eye(4))
    with pytest.raises(ConfigError, match=message):
        Restore(*arguments)([_slab(0, 6, channels)], image, members)


@pytest.mark.parametrize(
    "wrong", [{"activation": "relu"}, {"output": "mask"}, {"uncertainty": "variance"}], ids=lambda w: next(iter(w))
)
def test_unknown_choices_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="isn't known; use"):
        Restore(**({"activation": "softmax"} | wrong))


_MEASURE = """
import json, resource, torch
from monai.data import MetaTensor
from radseg.pipelines.engine.restore import Restore
from radseg.pipelines.engine.slab import Slab
from radseg.transforms import ResampleToSpacing
torch.set_num_threads(1)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
grow = lambda image: ResampleToSpacing(2.0)(MetaTensor(image, affine=torch.eye(4)))
def slabs(classes):
    for start in range(0, 96, 16):
        logits = torch.zeros(classes, 96, 96, 16)
        for c in range(classes):
            logits[c, 3 * c : 3 * c + 20, c : c + 30] = c
        yield Slab(2, start, start + 16, logits)
        del logits
Restore("softmax")(slabs(3), grow(torch.zeros(1, 192, 192, 192)))
before = peak()
image = grow(torch.zeros(1, 192, 192, 192))
pred = Restore("softmax")(slabs(25), image).pred
print(json.dumps([peak() - before, len(pred.unique())]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
def test_memory_does_not_grow_with_classes_times_the_source() -> None:
    ended = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
    extra_mb, labels = json.loads(ended.stdout.splitlines()[-1])
    assert labels > 20
    # one slab is 15 MB and is there twice at most; all classes on the source's grid are 708 MB, on the network's 88 MB
    assert extra_mb < 80
