"""How unsure each voxel of a mask is, whatever the network's answer was kept as."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from radseg.pipelines.engine import Prediction


@dataclass(frozen=True, eq=False)
class Doubt:
    """Uncertainty of each voxel, to be looked at.

    Attributes:
        values: uint8, (i, j, k), 255 as uncertain as can be.
        said: what it is and where it is known, in a sentence.
    """

    values: npt.NDArray[np.uint8]
    said: str


def doubt_of(prediction: Prediction) -> Doubt | None:
    """What is known of each voxel's uncertainty; None when nothing was kept of the network's answer.

    Several members give that of all voxels (see `radseg.pipelines.engine.combine.uncertainty`). Of one answer there is
    the entropy: where a single label's probability was kept everywhere, else inside the labels alone, and 0 outside.

    Args:
        prediction: the mask and what goes with it.
    """
    members = prediction.effort.members
    if prediction.uncertainty is not None:
        how = "entropy of their mean" if prediction.measure == "entropy" else "how much they disagree"
        return Doubt(prediction.uncertainty, f"Of {members} answers: {how}, 0 certain, 1 undecided.")
    if prediction.entropy is not None:
        inside = np.multiply(prediction.entropy, prediction.mask > 0, order="K")
        return Doubt(inside, "Of a single answer: its entropy inside the labels, 0 certain, 1 undecided.")
    values = entropy_of(prediction)
    return None if values is None else Doubt(values, "Of a single answer: its entropy, 0 certain, 1 undecided.")


def entropy_of(prediction: Prediction) -> npt.NDArray[np.uint8] | None:
    """Uncertainty as regions are judged by, uint8 for 0…1, right where there is a label; None when nothing was kept."""
    if prediction.uncertainty is not None:
        return prediction.uncertainty
    if prediction.entropy is None and prediction.probability is not None and len(prediction.probability) == 1:
        p = np.arange(256) / 255
        entropy = (special.entr(p) + special.entr(1 - p)) / np.log(2)
        return np.asarray(np.rint(255 * entropy).astype(np.uint8)[prediction.probability[0]])
    return prediction.entropy
