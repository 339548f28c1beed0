"""Whether a picture is a photograph rather than an exported image."""

import cv2
import numpy as np

from radseg.pipelines.plausibility.seen import Seen

_ENDINGS = (".png", ".jpg", ".jpeg")
_APART = 40  # grey levels between a pixel's channels; JPEG and tinted film stay below


class Colour:
    """Flags a PNG or JPEG in colour: a photo of a screen or film, or no medical image at all.

    Args:
        most_share: of pixels whose channels lie more than 40 grey levels apart; annotations take less.
    """

    ends = False

    def __init__(self, most_share: float = 0.05) -> None:
        self.most_share = most_share

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        if not image.volume.is_picture or not image.files or image.files[0].suffix.lower() not in _ENDINGS:
            return None
        pixels = cv2.imread(str(image.files[0]), cv2.IMREAD_REDUCED_COLOR_4)
        if pixels is None:
            return None
        share = float((np.ptp(pixels, axis=2) > _APART).mean())
        if share <= self.most_share:
            return None
        return f"a colour picture ({share:.0%} of its pixels are coloured): a photo? export the image itself in grey"
