"""Losses put together from MONAI's: Dice + Tversky for lesions in lung CT, focal + Dice for bone in pelvic X-rays."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss, FocalLoss, TverskyLoss
from torch import nn


class DiceTverskyLoss(nn.Module):
    r"""Weighted sum of MONAI's Dice and Tversky losses.

    With probabilities :math:`p` and target :math:`t`, :math:`TP = \sum pt`, :math:`FP = \sum p(1-t)` and
    :math:`FN = \sum (1-p)t`:

    .. math:: L = w_D\left(1 - \frac{2\,TP}{2\,TP + FP + FN}\right)
              + w_T\left(1 - \frac{TP}{TP + \alpha FP + \beta FN}\right)

    Each term is computed per item and channel and averaged (a constant of 1e-5 above and below the line keeps empty
    masks finite). Milletari et al., 3DV 2016 (Dice); Salehi et al., MLMI 2017, arXiv:1706.05721 (Tversky). The
    paper's own weights are lost in its text; these are the project's.

    Args:
        sigmoid: the network gives logits; ``False`` if it gives probabilities.
        alpha: weight of false positives.
        beta: weight of false negatives.
        dice_weight: weight of the Dice term.
        tversky_weight: weight of the Tversky term.
        batch: count over the whole batch before dividing, so that a slice without lesion doesn't weigh as an item.

    Raises:
        ValueError: a weight is negative, or nothing would be left of the loss.
    """

    def __init__(
        self,
        sigmoid: bool = True,
        alpha: float = 0.3,
        beta: float = 0.7,
        dice_weight: float = 1.0,
        tversky_weight: float = 1.0,
        batch: bool = False,
    ) -> None:
        super().__init__()
        if min(alpha, beta, dice_weight, tversky_weight) < 0:
            raise ValueError("alpha, beta, dice_weight and tversky_weight must not be negative.")
        if dice_weight + tversky_weight == 0:
            raise ValueError("dice_weight and tversky_weight must not both be 0.")
        self.dice_weight, self.tversky_weight = float(dice_weight), float(tversky_weight)
        self.dice = DiceLoss(sigmoid=sigmoid, batch=batch)
        self.tversky = TverskyLoss(sigmoid=sigmoid, alpha=alpha, beta=beta, batch=batch)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of logits and a binary target of one shape, (B, C, H, W) or (B, C, H, W, D)."""
        # sums over many thousand pixels overflow in float16 and lose their digits in bfloat16
        logits, target = logits.float(), target.float()
        dice, tversky = self.dice(logits, target), self.tversky(logits, target)
        loss: torch.Tensor = self.dice_weight * dice + self.tversky_weight * tversky
        return loss


class BinaryFocalDiceLoss(nn.Module):
    r"""Sum of MONAI's focal and Dice losses, weighed as ``binary_focal_dice_loss`` of ``segmentation_models`` 1.0.1.

    With probabilities :math:`p`, target :math:`t` and :math:`n` pixels in the batch:

    .. math:: L = -\frac{1}{n}\sum\left(\alpha\,t\,(1-p)^\gamma\log p
              + (1-\alpha)(1-t)\,p^\gamma\log(1-p)\right)
              + 1 - \frac{2\sum pt + s}{\sum p + \sum t + s}, \qquad s = 10^{-5}

    The sums of the Dice term run over the whole batch, channel by channel; the channels are averaged. The only
    difference: that library clips probabilities to :math:`10^{-7}` from 0 and 1, where this works on logits. Lin et
    al., ICCV 2017 (focal); Milletari et al., 3DV 2016 (Dice).

    Args:
        gamma: exponent that lets pixels count less the surer they are right.
        alpha: weight of foreground in the focal term; background weighs ``1 - alpha``.
        batch: count the Dice term over the whole batch; ``False`` counts by image and averages.

    Raises:
        ValueError: ``gamma`` is negative or ``alpha`` isn't between 0 and 1.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, batch: bool = True) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma must not be negative, got {gamma}.")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be between 0 and 1, got {alpha}.")
        self.focal = FocalLoss(gamma=gamma, alpha=alpha)
        self.dice = DiceLoss(sigmoid=True, smooth_nr=1e-5, smooth_dr=1e-5, batch=batch)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss of logits and a binary target of one shape, (B, C, H, W) or (B, C, H, W, D)."""
        # sums over many thousand pixels overflow in float16 and lose their digits in bfloat16
        logits, target = logits.float(), target.float()
        loss: torch.Tensor = self.focal(logits, target) + self.dice(logits, target)
        return loss
