"""Draws the answer of a network that decides on a coarse grid along the edges of the image."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from radseg.pipelines.errors import ConfigError

_LEAST = 1e-4  # probability that foreground and background keep, so that their logits are finite
_GUIDING_HU = (-200.0, 300.0)  # beyond lies what isn't an outline of bone: air, and cortex against marrow
_FLAT_HU = 15.0
_DOUBT = 0.03


class GuidedRefinement:
    """Makes probabilities follow the image, by the fast guided filter.

    A network that decides at an eighth of its grid and enlarges its answer knows what is where, but not to the voxel
    where it ends. Round every voxel the probability of the foreground, which is all but class 0, is taken for a linear
    function of the image, fitted by least squares: where the image has an edge the probability then has it too, where
    it has none the probability is smoothed. The other classes share the foreground as the network has it.

    Where the image says little of the answer, the fit is doubted: in an osteoporotic vertebra a bright shell is bone
    and its core as dark as muscle, and the fit would take the core for muscle. With r² the share of the probability's
    variance that the fit explains, averaged as the fit is, the result is the fit's by r² / (r² + doubt) and the
    network's by the rest. This is not part of the filter as published; a doubt of 0 leaves it out.

    He, Sun and Tang, "Guided image filtering" (IEEE PAMI 35, 2013); He and Sun, "Fast guided filter" (2015), for the
    fit on a coarser grid.

    Args:
        radius: how far round a voxel the fit looks, in voxels, one number for all axes or one for each.
        epsilon: variance of the image below which it counts as flat, in the square of the image's unit.
        lower: what lies below it in the image counts as it, in the image's unit; the first channel guides.
        upper: what lies above it counts as it.
        subsample: the fit is made on a grid coarser by this number of voxels.
        smooth: so many voxels to each side of a voxel the image is averaged over first, since the noise of what guides
            would be that of the answer; 0 takes it as it is.
        classes: channels of one answer; those of several networks or flips, side by side, are refined each for itself.
            Without it all channels are one answer.
        doubt: r² at which fit and network count alike.

    Raises:
        ConfigError: a radius, epsilon, range or number that can't be.
    """

    def __init__(
        self,
        radius: Sequence[float] | float,
        epsilon: float,
        lower: float = -math.inf,
        upper: float = math.inf,
        subsample: int = 2,
        smooth: int = 1,
        classes: int | None = None,
        doubt: float = 0.0,
    ) -> None:
        self.radius = tuple(radius) if isinstance(radius, Sequence) else radius
        self.epsilon = epsilon
        self.lower = lower
        self.upper = upper
        self.subsample = subsample
        self.smooth = smooth
        self.classes = classes
        self.doubt = doubt
        radii = self.radius if isinstance(self.radius, tuple) else (self.radius,)
        if not all(1 <= each < math.inf for each in radii):
            raise ConfigError(f"a guided refinement's radius must be at least 1 voxel, got {radius}")
        if not 0 < epsilon < math.inf:
            raise ConfigError(f"a guided refinement's epsilon must be above 0, got {epsilon}")
        if not lower < upper:
            raise ConfigError(f"a guided refinement needs lower below upper, got {lower} and {upper}")
        if subsample < 1:
            raise ConfigError(f"a guided refinement's subsample must be at least 1, got {subsample}")
        if smooth < 0:
            raise ConfigError(f"a guided refinement's smooth must be at least 0, got {smooth}")
        if classes is not None and classes < 1:
            raise ConfigError(f"a guided refinement's classes must be at least 1, got {classes}")
        if not 0 <= doubt < math.inf:
            raise ConfigError(f"a guided refinement's doubt must be at least 0, got {doubt}")

    def __call__(self, image: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Logits (n, channels, *spatial) float32, of `image` (n, channels, *spatial) and the network's logits.

        Of several classes they are log probabilities, so that their softmax gives what the filter gave; of one class
        its sigmoid does.

        Raises:
            ConfigError: the image has another number of axes than `radius`, or the logits aren't whole answers.
        """
        classes = self.classes or logits.shape[1]
        if logits.shape[1] % classes:
            raise ConfigError(f"a guided refinement of {classes} classes can't take {logits.shape[1]} channels apart")
        guide = image[:, :1].float().clamp(self.lower, self.upper)
        guide = _mean(guide, [self.smooth] * (guide.dim() - 2))
        answers = logits.float().chunk(logits.shape[1] // classes, 1)
        return torch.cat([self._refined(guide, answer) for answer in answers], 1)

    def _refined(self, guide: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        several = logits.shape[1] > 1
        foreground = 1 - logits.softmax(1)[:, :1] if several else logits.sigmoid()
        refined = self._filter(guide, foreground).clamp(_LEAST, 1 - _LEAST)
        if not several:
            return refined.logit()
        return torch.cat([(1 - refined).log(), refined.log() + logits[:, 1:].log_softmax(1)], 1)

    def _filter(self, guide: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Values (n, 1, *spatial) as a linear function of the guide (n, 1, *spatial) round every voxel."""
        axes = guide.dim() - 2
        radius = self.radius if isinstance(self.radius, tuple) else (self.radius,) * axes
        if len(radius) != axes:
            raise ConfigError(f"a guided refinement's radius {list(radius)} on an image of {axes} axes: give one each")
        small_guide, small = _coarser(guide, self.subsample), _coarser(values, self.subsample)
        around = [max(1, round(each / self.subsample)) for each in radius]
        guide_mean, mean = _mean(small_guide, around), _mean(small, around)
        covariance = _mean(small_guide * small, around) - guide_mean * mean
        variance = _mean(small_guide * small_guide, around) - guide_mean * guide_mean
        slope = covariance / (variance.clamp(min=0) + self.epsilon)
        offset = mean - slope * guide_mean
        slope, offset = (_finer(_mean(each, around), self.subsample, guide) for each in (slope, offset))
        fitted = slope * guide + offset
        if self.doubt == 0:
            return fitted
        spread = _mean(small * small, around) - mean * mean
        explained = covariance**2 / ((variance.clamp(min=0) + self.epsilon) * (spread.clamp(min=0) + _LEAST))
        explained = _finer(_mean(explained.clamp(0, 1), around), self.subsample, guide)
        return values + explained / (explained + self.doubt) * (fitted - values)


def _coarser(values: torch.Tensor, by: int) -> torch.Tensor:
    """Means of blocks of `by` voxels along each axis; the last block is of those that are left."""
    for axis, size in enumerate(values.shape[2:] if by > 1 else ()):
        values = _pooled(values, axis, by, by, (0, -size % by))
    return values


def _mean(values: torch.Tensor, around: Sequence[int]) -> torch.Tensor:
    """Mean of the box of voxels within `around` of each, of those that there are at the ends."""
    for axis, reach in enumerate(around):
        reach = min(reach, values.shape[2 + axis] - 1)
        values = _pooled(values, axis, 2 * reach + 1, 1, (reach, reach))
    return values


def _pooled(values: torch.Tensor, axis: int, size: int, stride: int, beyond: tuple[int, int]) -> torch.Tensor:
    """Means along a spatial axis of boxes that may reach `beyond` its ends, where there is nothing to count.

    Whole arrays are added, which a CPU does several times faster than torch's pooling in 3D.
    """
    axes = values.dim() - 2
    pad, line = [0] * 2 * axes, [1] * (axes + 2)
    pad[2 * (axes - 1 - axis) : 2 * (axes - axis)] = beyond
    line[2 + axis] = values.shape[2 + axis]
    total, share = (
        _sums(functional.pad(each, pad), 2 + axis, size, stride) for each in (values, values.new_ones(line))
    )
    return total / share


def _sums(values: torch.Tensor, axis: int, size: int, stride: int) -> torch.Tensor:
    boxes = (values.shape[axis] - size) // stride + 1
    before = (slice(None),) * axis
    starts = (values[(*before, slice(first, first + stride * boxes, stride))] for first in range(size))
    total = next(starts).clone()
    for each in starts:
        total += each
    return total


def _finer(values: torch.Tensor, by: int, like: torch.Tensor) -> torch.Tensor:
    """What `_coarser` made coarse on the grid of `like` again, linear in between."""
    if by == 1:
        return values
    mode = "trilinear" if values.dim() == 5 else "bilinear"
    fine = functional.interpolate(values, scale_factor=by, mode=mode)
    return fine[:, :, *(slice(size) for size in like.shape[2:])]


def guided_by_ct(
    guided_mm: float, spacing_mm: Sequence[float], window_hu: Sequence[float], classes: int
) -> GuidedRefinement | None:
    """The refinement along the edges of a CT in a window of HU; None where it is left out.

    Args:
        guided_mm: how far round a voxel the fit looks, at least one voxel; 0 leaves the refinement out.
        spacing_mm: of the voxels, for each axis of the network's windows.
        window_hu: the HU that the image's 0 and 1 stand for; those of −200 … 300 HU guide.
        classes: see `GuidedRefinement`.

    Raises:
        ConfigError: a reach that isn't a number, or a window that nothing of −200 … 300 HU lies in.
    """
    if isinstance(guided_mm, bool) or not isinstance(guided_mm, int | float):
        raise ConfigError(f"guided_mm must be a number of millimetres, 0 for no filter, got {guided_mm!r}")
    if guided_mm == 0:
        return None
    low, high = (float(each) for each in window_hu)
    lower, upper = max(_GUIDING_HU[0], low), min(_GUIDING_HU[1], high)
    if not lower < upper:
        raise ConfigError(
            f"window_hu {list(window_hu)}: nothing of −200 to 300 HU, which guides the outline, lies in it; "
            "give another window or --guided_mm 0"
        )
    radius = [max(1.0, guided_mm / each) if guided_mm > 0 else float(guided_mm) for each in spacing_mm]
    lower, upper = ((each - low) / (high - low) for each in (lower, upper))
    return GuidedRefinement(radius, (_FLAT_HU / (high - low)) ** 2, lower, upper, classes=classes, doubt=_DOUBT)
