"""What the server has: images, models, strategies, scores; a request that names anything else is refused."""

from collections.abc import Callable, Collection
from dataclasses import dataclass


def _nothing() -> Collection[str]:
    return ()


@dataclass(frozen=True)
class Known:
    """Names that requests may hold, each asked for at every request since they come and go.

    Attributes:
        images: ids of the images that are listed.
        models: bundles that are served.
        strategies: ways to choose the next image.
        scores: scoring methods.
        devices: what the server may compute on.
        dicom: whether the images are in an archive, so that masks can be DICOM SEG.
    """

    images: Callable[[], Collection[str]] = _nothing
    models: Callable[[], Collection[str]] = _nothing
    strategies: Callable[[], Collection[str]] = _nothing
    scores: Callable[[], Collection[str]] = _nothing
    devices: Callable[[], Collection[str]] = _nothing
    dicom: bool = False
