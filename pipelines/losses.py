"""The loss of the lung CT system: soft Dice plus a Tversky term that counts missed lesion more than invented lesion."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss, TverskyLoss
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
