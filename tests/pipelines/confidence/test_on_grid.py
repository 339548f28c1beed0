"""What is counted and drawn while a case is predicted doesn't depend on how its slabs are cut."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from radseg.pipelines.confidence.on_grid import ReliabilityWatch, SampleWatch
from radseg.pipelines.confidence.reliability import Reliability
from radseg.pipelines.engine.combine import Activation
from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume

SHAPE = (12, 10, 14)


def truth() -> Volume:
    label = np.zeros(SHAPE, np.float32)
    label[3:6, 2:5, 4:9] = 1
    return Volume(label, np.eye(4), "label")


def told(watch: Any, logits: torch.Tensor, axis: int, cuts: list[int], members: int = 1) -> None:
    """What a predictor tells an observer."""
    watch.begin({"label": watch.entries()["label"], "image": MetaTensor(torch.zeros(1, *SHAPE))}, members)
    for start, stop in zip([0, *cuts], [*cuts, SHAPE[axis]], strict=True):
        watch.see(Slab(axis, start, stop, logits.narrow(axis + 1, start, stop - start)))


def logits_of(classes: int, members: int = 1) -> torch.Tensor:
    logits = torch.randn(members, classes, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2
    logits[:, 0] += 3 if classes > 1 else -3
    return logits.flatten(0, 1)


def counted(logits: torch.Tensor, activation: Activation, axis: int, cuts: list[int], members: int = 1) -> Any:
    watch = ReliabilityWatch(truth(), activation, 0.5, [1.0, 2.5])
    told(watch, logits, axis, cuts, members)
    everywhere, near = [Reliability(), Reliability()], [Reliability(), Reliability()]
    watch.count(everywhere, near)
    return everywhere, near


@pytest.mark.parametrize(("classes", "activation"), [(1, "sigmoid"), (3, "softmax")])
def test_counts_are_those_of_the_whole_grid(classes: int, activation: Activation) -> None:
    logits = logits_of(classes)
    for axis, cuts in ((0, [5]), (2, [1, 2, 13])):
        everywhere, near = counted(logits, activation, axis, cuts)
        for temperature, of_all, of_near in zip((1.0, 2.5), everywhere, near, strict=True):
            if classes == 1:
                label, p = logits[0] >= 0, torch.sigmoid(logits[0] / temperature)
                confidence = torch.where(label, p, 1 - p)
            else:
                label, confidence = logits.argmax(0), torch.softmax(logits / temperature, 0).amax(0)
            right = (label.long() == torch.from_numpy(truth().array).long()).numpy()
            expected = Reliability()
            expected.add(confidence.numpy(), right)
            assert of_all.expected_calibration_error == pytest.approx(expected.expected_calibration_error, abs=2e-4)
            assert of_all.voxels == np.prod(SHAPE)
            assert 0 < of_near.voxels <= of_all.voxels


def test_near_is_three_voxels_around_truth_and_prediction() -> None:
    quiet = torch.full((1, *SHAPE), -9.0)
    quiet[0, 11, 9, 13] = 9  # a predicted voxel in a corner
    _, near = counted(quiet, "sigmoid", 0, [])
    around_truth = (3 + 3 + 3) * (3 + 2 + 3) * (5 + 3 + 3)  # one side is cut off by the grid's edge
    assert near[0].voxels == around_truth + 4**3 - 1 * 2 * 2  # the two boxes share four voxels


@pytest.mark.parametrize(("classes", "activation"), [(1, "sigmoid"), (3, "softmax")])
def test_the_same_voxels_are_drawn_whatever_the_slabs(classes: int, activation: Activation) -> None:
    logits = logits_of(classes, members=2)
    samples = []
    for axis, cuts in ((0, []), (1, [3, 4]), (2, [7])):
        watch = SampleWatch(truth(), activation, 0.5, most=50, seed=3)
        told(watch, logits, axis, cuts, members=2)
        samples.append(watch.sample())
    for drawn, labels in samples:
        assert drawn.shape == (50, 2, classes)
        assert torch.equal(drawn, samples[0][0])
        assert torch.equal(labels, samples[0][1])
    other = SampleWatch(truth(), activation, 0.5, most=50, seed=4)
    told(other, logits, 0, [], members=2)
    assert not torch.equal(other.sample()[0], samples[0][0])


def test_voxels_that_no_window_covered_are_not_drawn() -> None:
    watch = SampleWatch(truth(), "sigmoid", 0.5, most=10_000, seed=0)
    watch.begin({"label": watch.entries()["label"], "image": MetaTensor(torch.zeros(1, *SHAPE))}, 1)
    watch.see(Slab(0, 0, 12, torch.zeros(1, *SHAPE), torch.zeros(SHAPE, dtype=torch.bool)))
    assert len(watch.sample()[0]) == 0


def test_a_preprocessing_that_leaves_the_label_behind_is_told() -> None:
    watch = SampleWatch(truth(), "sigmoid", 0.5, most=1, seed=0)
    with pytest.raises(InputError, match="give it the key 'label'"):
        watch.begin({"label": watch.entries()["label"], "image": MetaTensor(torch.zeros(1, 4, 4, 4))}, 1)
