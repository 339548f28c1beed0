"""Means and doubts of several answers, against numbers worked out by hand."""

import math

import pytest
import torch

from radseg.pipelines.engine.combine import mean_probability, probabilities, uncertainty


def logits_of(*members: list[float]) -> torch.Tensor:
    """Logits whose softmax is these probabilities, one voxel."""
    return torch.tensor([p for member in members for p in member]).log().reshape(-1, 1, 1, 1)


def test_the_mean_is_of_probabilities_not_of_logits() -> None:
    logits = logits_of([0.98, 0.01, 0.01], [0.3, 0.6, 0.1])
    torch.testing.assert_close(mean_probability(logits, 2, "softmax").flatten(), torch.tensor([0.64, 0.305, 0.055]))


def test_each_member_of_sigmoid_is_its_own() -> None:
    logits = torch.tensor([0.9, 0.2]).logit().reshape(2, 1, 1, 1)
    assert float(mean_probability(logits, 2, "sigmoid")) == pytest.approx(0.55)


@pytest.mark.parametrize(("activation", "expected"), [("softmax", [1.0, 0.0]), ("sigmoid", [0.0, 0.0])])
def test_what_no_window_covered_is_background(activation: str, expected: list[float]) -> None:
    covered = torch.zeros(1, 1, 1, dtype=torch.bool)
    logits = torch.tensor([-3.0, 5.0]).reshape(2, 1, 1, 1)
    assert probabilities(logits, activation, covered).flatten().tolist() == expected  # type: ignore[arg-type]


def binary_entropy(p: float) -> float:
    return -(p * math.log2(p) + (1 - p) * math.log2(1 - p))


@pytest.mark.parametrize(
    ("members", "entropy", "disagreement"),
    [
        ([[0.5, 0.5], [0.5, 0.5]], 1.0, 0.0),
        ([[0.9, 0.1], [0.1, 0.9]], 1.0, 1 - binary_entropy(0.9)),
        ([[0.9, 0.1], [0.9, 0.1]], binary_entropy(0.9), 0.0),
        (
            [[0.8, 0.2], [0.6, 0.4]],
            binary_entropy(0.7),
            binary_entropy(0.7) - (binary_entropy(0.8) + binary_entropy(0.6)) / 2,
        ),
    ],
    ids=["both undecided", "opposed", "agreed", "differing"],
)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_uncertainty_of_two_members(
    members: list[list[float]], entropy: float, disagreement: float, activation: str
) -> None:
    logits = logits_of(*members)
    if activation == "sigmoid":
        logits = torch.tensor([p[1] for p in members]).logit().reshape(-1, 1, 1, 1)
    mean = mean_probability(logits, 2, activation)  # type: ignore[arg-type]
    for measure, expected in (("entropy", entropy), ("disagreement", disagreement)):
        found = uncertainty(logits, mean, 2, activation, measure)  # type: ignore[arg-type]
        assert float(found) == pytest.approx(expected, abs=1e-5)


def test_three_classes_at_odds_are_as_uncertain_as_can_be() -> None:
    sure = 1 - 2e-7
    logits = logits_of(*([sure if c == m else 1e-7 for c in range(3)] for m in range(3)))
    mean = mean_probability(logits, 3, "softmax")
    for measure in ("entropy", "disagreement"):
        assert float(uncertainty(logits, mean, 3, "softmax", measure)) == pytest.approx(1, abs=1e-4)  # type: ignore[arg-type]


def test_certainty_is_zero_and_never_below() -> None:
    logits = torch.tensor([80.0, -80, 80, -80]).reshape(4, 1, 1, 1)
    mean = mean_probability(logits, 2, "softmax")
    assert float(uncertainty(logits, mean, 2, "softmax", "entropy")) == 0
    assert float(uncertainty(logits, mean, 2, "softmax", "disagreement")) == 0
