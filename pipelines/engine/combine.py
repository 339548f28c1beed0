"""What several networks, or one network on several flips, say together: the mean of them and how unsure it is."""

import math
from typing import Literal

import torch

Activation = Literal["softmax", "sigmoid"]
Measure = Literal["entropy", "disagreement"]


def probabilities(
    logits: torch.Tensor, activation: Activation, covered: torch.Tensor | None = None, temperature: float = 1.0
) -> torch.Tensor:
    """Probability of each class (classes, *spatial) for logits of that shape.

    Args:
        logits: (classes, *spatial).
        activation: "softmax" where class 0 is background and one of them is true, "sigmoid" where each is by itself.
        covered: (*spatial) bool; where it is False there is background: the first class of softmax, none of sigmoid.
        temperature: what logits are divided by first (Guo et al., ICML 2017, §4.2); above 1 they say less for certain.
    """
    if temperature != 1:
        logits = logits / temperature
    if activation == "sigmoid":
        each = torch.sigmoid(logits)
        return each if covered is None else each * covered
    each = torch.softmax(logits, 0)
    if covered is not None:
        each *= covered
        each[0] += ~covered
    return each


def mean_probability(
    logits: torch.Tensor,
    members: int,
    activation: Activation,
    covered: torch.Tensor | None = None,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Mean over members of their probabilities, (classes, *spatial), for logits (members · classes, *spatial)."""
    mean: torch.Tensor | None = None
    for member in logits.chunk(members):
        each = probabilities(member, activation, covered, temperature)
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
    temperature: float = 1.0,
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
        temperature: that of `mean`.
    """
    unsure = entropy(mean, activation)
    if measure == "disagreement":
        for member in logits.chunk(members):
            unsure -= entropy(probabilities(member, activation, covered, temperature), activation) / members
    return unsure.clamp_(0, 1)


def differing(
    logits: torch.Tensor,
    members: int,
    activation: Activation,
    threshold: float = 0.5,
    covered: torch.Tensor | None = None,
) -> torch.Tensor:
    """Where members, each by itself, would not all give the same label: bool (*spatial).

    Args:
        logits: of the members, (members · classes, *spatial).
        members: how many there are.
        activation: as for `probabilities`; a member's label is its likeliest class, of "sigmoid" every class whose
            probability reaches `threshold`.
        threshold: of "sigmoid".
        covered: as for `probabilities`; where it is False all say background.
    """
    first: torch.Tensor | None = None
    apart = torch.zeros(logits.shape[1:], dtype=torch.bool, device=logits.device)
    for member in logits.chunk(members):
        labels = member.argmax(0, keepdim=True) if activation == "softmax" else torch.sigmoid(member) >= threshold
        first = labels if first is None else first
        apart |= (labels != first).any(0)
    return apart if covered is None else apart & covered


def entropy(probability: torch.Tensor, activation: Activation) -> torch.Tensor:
    """That of probabilities (classes, *spatial), over the most that it can be: (*spatial), 0 … 1; see `uncertainty`."""
    each: torch.Tensor = torch.special.entr(probability)
    if activation == "softmax":
        return each.sum(0) / math.log(len(probability))
    both: torch.Tensor = each + torch.special.entr(1 - probability)
    return both.mean(0) / math.log(2)
