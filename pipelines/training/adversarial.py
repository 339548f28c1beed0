"""Training a segmentation network against a discriminator that learns to tell its masks from drawn ones."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.networks import one_hot
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.pipelines.errors import WeightsError
from radseg.pipelines.training.distributed import average_, from_first_, total, world_size

# a drawn mask holds these instead of 0 and 1, which no sigmoid reaches: to be exact would give it away
ABSENT, PRESENT = 0.01, 0.99
LOSSES = ("segmentation_loss", "adversarial_loss", "discriminator_loss")


class AdversarialSegmentationTrainer(SupervisedTrainer):
    r"""MONAI's supervised trainer whose network must also convince a discriminator; both learn from every batch.

    With the network :math:`G`, the discriminator :math:`D` (logits), image :math:`x`, drawn mask :math:`y` and
    :math:`\mathrm{BCE}` from logits, one step is

    .. math:: \min_D \; \mathrm{BCE}(D(y), 1) + \mathrm{BCE}(D(G(x)), 0), \qquad
              \min_G \; L(G(x), y) + w\,\mathrm{BCE}(D(G(x)), 1)

    in this order, from one forward pass of :math:`G`; neither step touches the other's weights. The step of
    :math:`D` is taken between the forward pass and the loss of MONAI's own step, so all that `SupervisedTrainer` can
    do stays (under gradient accumulation :math:`D` still steps with every batch). :math:`D` sees probabilities:
    softmax beside one-hot labels where one label channel stands for several classes, else sigmoid; its drawn masks
    hold 0.99 and 0.01. It computes in full precision whatever the network does. Among several processes it begins as
    the first's, and its gradients are averaged. Han et al., Spine-GAN, Medical Image Analysis 50 (2018); order,
    adversarial losses, label smoothing and :math:`D`'s Adam (:math:`\beta_1 = 0.5`) as in its first author's program,
    which takes the step of :math:`G` on the next batch, has a class-weighted cross-entropy for :math:`L`, shows
    :math:`D` the network's logits and adds the adversarial loss with weight 1.

    `engine.state.output` holds, beside MONAI's ``loss`` (that of :math:`G`), ``segmentation_loss``,
    ``adversarial_loss`` (without :math:`w`) and ``discriminator_loss``; `engine.state.metrics` their means over the
    epoch so far and the processes, from where history and TensorBoard have them.

    Args:
        discriminator: gives logits of any shape for masks of shape (batch, channels of the network's logits, *size).
        discriminator_learning_rate: of its Adam.
        adversarial_weight: :math:`w`.
        loss_function: :math:`L`, of logits and labels.
        **kwargs: the other arguments of MONAI's `SupervisedTrainer`.

    Raises:
        ValueError: a weight or rate is negative.
    """

    def __init__(
        self,
        *,
        discriminator: nn.Module,
        loss_function: Callable[..., Any],
        discriminator_learning_rate: float = 1e-4,
        adversarial_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if adversarial_weight < 0 or discriminator_learning_rate < 0:
            raise ValueError("adversarial_weight and discriminator_learning_rate must not be negative")
        super().__init__(loss_function=self._generator_loss, **kwargs)
        self.segmentation_loss = loss_function
        self.adversarial_weight = float(adversarial_weight)
        self.discriminator = discriminator.to(self.state.device).train().requires_grad_(False)
        from_first_(self.discriminator.state_dict().values())
        self.discriminator_learning_rate = float(discriminator_learning_rate)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=discriminator_learning_rate, betas=(0.5, 0.999)
        )
        self.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._train_discriminator)
        self.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._note_losses)

    def _train_discriminator(self, engine: Engine) -> None:
        output = engine.state.output
        fake, real = shares(output["pred"].detach(), output["label"])
        self.discriminator.requires_grad_(True)
        self.discriminator_optimizer.zero_grad()
        loss = self._verdict(real, True) + self._verdict(fake, False)
        loss.backward()  # type: ignore[no-untyped-call]
        average_([parameter.grad for parameter in self.discriminator.parameters() if parameter.grad is not None])
        self.discriminator_optimizer.step()
        self.discriminator.requires_grad_(False)
        output["discriminator_loss"] = loss.detach()

    def _generator_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        output = self.state.output
        segmentation: Tensor = self.segmentation_loss(logits, label).mean()
        adversarial = self._verdict(shares(logits, label)[0], True)
        output["segmentation_loss"], output["adversarial_loss"] = segmentation.detach(), adversarial.detach()
        return segmentation + self.adversarial_weight * adversarial

    def _verdict(self, mask: Tensor, drawn: bool) -> Tensor:
        """How far the discriminator is from judging that `mask` was, or wasn't, drawn by a human."""
        with torch.autocast(mask.device.type, enabled=False):
            logits = self.discriminator(mask)
            target = torch.ones_like(logits) if drawn else torch.zeros_like(logits)
            return F.binary_cross_entropy_with_logits(logits, target)

    def _note_losses(self, engine: Engine) -> None:
        state = engine.state
        position = (state.iteration - 1) % state.epoch_length
        sums = total([float(state.output[name]) for name in LOSSES])
        for name, value in zip(LOSSES, sums, strict=True):
            before = state.metrics[name] if position else 0.0
            state.metrics[name] = before + (value / world_size() - before) / (position + 1)

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside network and optimiser, for a resumed training to go on as it was."""
        return {
            "adversarial_weight": self.adversarial_weight,
            "discriminator_learning_rate": self.discriminator_learning_rate,
            "discriminator": self.discriminator.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
        }

    def load_extra_state(self, saved: Mapping[str, Any]) -> None:
        """Puts back what `extra_state` gave.

        Raises:
            WeightsError: it belongs to another discriminator, or to one that was trained with other settings.
        """
        for name in ("adversarial_weight", "discriminator_learning_rate"):
            if saved[name] != getattr(self, name):
                raise WeightsError(f"was trained with {name} {saved[name]:g}; resume with the same settings")
        try:
            self.discriminator.load_state_dict(saved["discriminator"])
        except RuntimeError as error:
            raise WeightsError("belongs to another discriminator; resume with the same one") from error
        self.discriminator_optimizer.load_state_dict(saved["discriminator_optimizer"])


def shares(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """What a discriminator compares: a network's probabilities, and the drawn mask in the same form.

    Args:
        logits: of shape (batch, channels, *size).
        label: class numbers of shape (batch, 1, *size) where there are several channels, else 0 and 1 in the shape of
            the logits.

    Returns:
        Two float32 tensors of the logits' shape; that of the label holds 0.01 and 0.99.
    """
    # plain tensors: MONAI's would carry their metadata through every layer of the discriminator
    logits, label = logits.as_subclass(Tensor).float(), label.as_subclass(Tensor).float()
    if logits.shape[1] > 1 and label.shape[1] == 1:
        probabilities, drawn = logits.softmax(1), one_hot(label, logits.shape[1])
    else:
        probabilities, drawn = logits.sigmoid(), label
    return probabilities, drawn * (PRESENT - ABSENT) + ABSENT
