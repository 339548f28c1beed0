"""What comes of an image: its mask, how sure that is, and what it took."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radseg.pipelines.engine.crop import Box


@dataclass(frozen=True)
class Effort:
    """What the network was run on, and how.

    Attributes:
        runtime: torch, compiled, openvino or cuda.
        precision: exact or fast.
        members: networks times flips whose answers were averaged.
        windows: how many windows the image has; 0 of an inferer that isn't the engine's.
        windows_run: how many of them were run; the others hold nothing that is looked for.
        box: start and stop voxel along each axis of the part of the network's grid that windows were laid over.
        located: what each finder said, one line each.
        notes: what had to be done otherwise than asked for, one line each.
    """

    runtime: str
    precision: str
    members: int
    windows: int
    windows_run: int
    box: Box | None = None
    located: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """A mask on the grid of its source.

    Attributes:
        mask: label of each voxel, uint8, shape (i, j, k) of the source.
        seconds: wall time of each stage (preprocess, locate if there are finders, network, restore).
        effort: what the network was run on.
        probability: of each label, uint8, (labels, i, j, k), 255 for 1, as the network gave it; if the bundle keeps it.
        uncertainty: of each voxel, uint8, (i, j, k), 255 as uncertain as can be; only of several members.
        confidence: mean certainty (1 − uncertainty) of the voxels with a label; None without any, or one member.
        differing: 1 where members by themselves give different labels, uint8, (i, j, k); only of several members.
        entropy: as `uncertainty`, of one member, right where there is a label; if the bundle keeps it.
        measure: what `uncertainty` is of several members, entropy or disagreement.
        temperature: what logits were divided by for all of these; the mask is made without it.
    """

    mask: npt.NDArray[np.uint8]
    seconds: dict[str, float]
    effort: Effort
    probability: npt.NDArray[np.uint8] | None = None
    uncertainty: npt.NDArray[np.uint8] | None = None
    confidence: float | None = None
    differing: npt.NDArray[np.uint8] | None = None
    entropy: npt.NDArray[np.uint8] | None = None
    measure: str = "entropy"
    temperature: float = 1.0


def confidence(mask: npt.NDArray[np.uint8], uncertainty: npt.NDArray[np.uint8]) -> float | None:
    """Mean certainty where there is a label, plane by plane, so that no copy of a volume is made."""
    total = voxels = 0
    for plane in range(mask.shape[2]):
        doubts = uncertainty[..., plane][mask[..., plane] > 0]
        total += int(doubts.sum(dtype=np.int64))
        voxels += doubts.size
    return round(1 - total / (255 * voxels), 4) if voxels else None
