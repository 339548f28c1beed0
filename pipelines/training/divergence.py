"""The error that ends a training whose numbers are no longer finite."""

from collections.abc import Iterable

from radseg.pipelines.errors import ConfigError


def divergence(epoch: int, what: str, images: Iterable[str]) -> ConfigError:
    """What to raise.

    Args:
        epoch: from 1.
        what: isn't finite: loss or weights.
        images: names of those in the batch in which it was noticed, as far as they are known.
    """
    names = ", ".join(sorted(set(images)))
    look = f", or look at what was in the batch: {names}" if names else ""
    return ConfigError(f"the training diverged in epoch {epoch} ({what} not finite); lower learning_rate{look}")
