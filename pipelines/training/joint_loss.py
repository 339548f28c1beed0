"""Dice over the batches of all processes together: a ratio of sums isn't the mean of the processes' ratios."""

from collections.abc import Iterator
from copy import copy
from typing import Any

import torch
from monai.losses import DiceLoss
from monai.networks import one_hot
from torch import Tensor, nn

from radseg.pipelines.training.distributed import summed

# of MONAI's Dice loss, what a `JointDiceLoss` knows nothing of
_PLAIN = {
    "other_act": None,
    "squared_pred": False,
    "jaccard": False,
    "soft_label": False,
    "ignore_index": None,
    "class_weight": None,
    "reduction": "mean",
}


class JointDiceLoss(nn.Module):
    r"""MONAI's Dice loss of the joint batch of all processes, the same in each of them.

    With probabilities :math:`p` and target :math:`t` of process :math:`r`, for each class, averaged over the classes:

    .. math:: L = 1 - \frac{2\sum_r\sum p_r t_r + s}{\sum_r\left(\sum p_r + \sum t_r\right) + s'}

    Every process must call it, and differentiate what it gives, as often as the others. A process' sums then get the
    gradients of all processes' losses, so that the mean over the processes that `DistributedDataParallel` takes is
    the gradient of :math:`L`, also where `StepLoss` weighs the losses by items.

    Args:
        alone: MONAI's, with `batch=True`; its activation, classes and smoothing are taken.

    Attributes:
        counts: whether this process' items do; see `ShardSampler`, which hands one out again where there are too few.
    """

    def __init__(self, alone: DiceLoss) -> None:
        super().__init__()
        self.alone = alone
        self.counts = True

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of logits and target of shapes as `DiceLoss` takes them."""
        alone, several = self.alone, logits.shape[1] > 1
        probabilities = logits.sigmoid() if alone.sigmoid else logits
        if several and alone.softmax:
            probabilities = probabilities.softmax(1)
        if several and alone.to_onehot_y:
            target = one_hot(target, logits.shape[1])
        if several and not alone.include_background:
            probabilities, target = probabilities[:, 1:], target[:, 1:]
        axes = [0, *range(2, logits.dim())]
        sums = torch.stack([one.sum(axes) for one in (probabilities * target, probabilities, target)])
        # plain tensors: processes can't exchange MONAI's
        both, predicted, drawn = summed(sums.as_subclass(Tensor).float() * self.counts)
        score = (2 * both + alone.smooth_nr) / (predicted + drawn + alone.smooth_dr)
        loss: Tensor = (1 - score).mean()
        return loss


def joint_loss(loss: Any) -> Any:
    """A loss as several processes use it: each of MONAI's `DiceLoss` with `batch=True` in it as a `JointDiceLoss`.

    The given loss stays as it is, for the validation, in which processes have different numbers of batches. One in
    which there is nothing to replace is given back.
    """
    if not isinstance(loss, nn.Module):
        return loss
    if type(loss) is DiceLoss and loss.batch and all(getattr(loss, name) == value for name, value in _PLAIN.items()):
        return JointDiceLoss(loss)
    parts = {name: joint_loss(part) for name, part in loss.named_children()}
    if all(part is getattr(loss, name) for name, part in parts.items()):
        return loss
    twin = copy(loss)
    twin._modules = {**loss._modules, **parts}
    return twin


def joint_parts(loss: Any) -> Iterator[JointDiceLoss]:
    """What in a loss is a `JointDiceLoss`."""
    for part in loss.modules() if isinstance(loss, nn.Module) else ():
        if isinstance(part, JointDiceLoss):
            yield part
