"""What several networks, or one network on several flips, say together: the mean of them and how unsure it is."""

import math
from typing import Literal

import torch

Activation = Literal["softmax", "sigmoid"]
Measure = Literal["entropy", "disagreement"]


def probabilities(logits: torch.Tensor, activation: Activation, covered: torch.Tensor | None = None) -> torch.Tensor:
    """Probability of each class (classes, *spatial) for logits of that shape.

    Args:
        logits: (classes, *spatial).
        activation: "softmax" where class 0 is background and one of them is true, "sigmoid" where each is by itself.
        covered: (*spatial) bool; where it is False there is background: the first class of softmax, none of sigmoid.
    """
    if activation == "sigmoid":
        each = torch.sigmoid(logits)
        return each if covered is None else each * covered
    each = torch.softmax(logits, 0)
    if covered is not None:
        each *= covered
        each[0] += ~covered
    return each


def mean_probability(
    logits: torch.Tensor, members: int, activation: Activation, covered: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over members of their probabilities, (classes, *spatial), for logits (members · classes, *spatial)."""
    mean: torch.Tensor | None = None
    for member in logits.chunk(members):
        each = probabilities(member, activation, covered)
        mean = each if mean is None else mean.add_(each)
    assert mean is not None
    return mean if members == 1 else mean.div_(members)


def uncertainty(
    logits: torch.Tensor,
    mean: torch.Tensor,
    members: int,
    activation: Activation,
    measure: Measure,
    covered: torch.Tensor | None = None,
) -> torch.Tensor:
    """How unsure members are together, (*spatial), 0 … 1.

    "entropy" is that of the mean probability p, H(p) = −Σ p log p: high where members are unsure, each for itself or
    because they differ. "disagreement" is the part of it that is due to their differing, the mutual information
    H(p) − mean H(p of a member) (Depeweg et al., ICML 2018, "Decomposition of uncertainty"). Both are divided by
    what they can be at most, the logarithm of the number of classes. Several sigmoid classes: the mean of theirs.

    Args:
        logits: of the members, (members · classes, *spatial).
        mean: their `mean_probability`, (classes, *spatial).
        members: how many there are.
        activation: as for `probabilities`.
        measure: which of the two.
        covered: as for `probabilities`.
    """
    unsure = _entropy(mean, activation)
    if measure == "disagreement":
        for member in logits.chunk(members):
            unsure -= _entropy(probabilities(member, activation, covered), activation) / members
    return unsure.clamp_(0, 1)


def _entropy(probability: torch.Tensor, activation: Activation) -> torch.Tensor:
    entropy: torch.Tensor = torch.special.entr(probability)
    if activation == "softmax":
        return entropy.sum(0) / math.log(len(probability))
    both: torch.Tensor = entropy + torch.special.entr(1 - probability)
    return both.mean(0) / math.log(2)
