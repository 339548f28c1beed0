"""Calibration of a bundle on labelled cases: the temperature that fits, and the error before and after it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from radseg.pipelines.confidence.on_grid import MARGIN_VOXELS, ReliabilityWatch, SampleWatch
from radseg.pipelines.confidence.reliability import BINS, Reliability
from radseg.pipelines.confidence.temperature import Fit, fit_temperature
from radseg.pipelines.console import tracked
from radseg.pipelines.engine import Predictor
from radseg.pipelines.engine.restore import Restore
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import Volume

CONVENTION = (
    f"expected calibration error of the confidence in each voxel's label, {BINS} bins of equal width over 0…1, voxels "
    "of all cases together; on the network's grid, before postprocessing; 'near' counts voxels of truth and prediction "
    f"and all within {MARGIN_VOXELS} voxels of them along each axis, 'all' every voxel, most of them easy background"
)
_MOST_VOXELS = 1 << 18  # of the sample: a temperature is one number, and logits of several members are large


class Calibration:
    """Counts how far a bundle's probabilities are right, at its own temperature and without one.

    Args:
        predictor: the bundle's; its `restore` says how logits become labels.

    Raises:
        ConfigError: it has no `restore`.
    """

    def __init__(self, predictor: Predictor) -> None:
        if predictor.restore is None:
            raise ConfigError("calibration needs the engine's restore, which says what logits mean; name one")
        self.restore: Restore = predictor.restore
        self._temperatures = [1.0]
        self._use(self.restore.temperature)

    def fitted_on(
        self,
        predictor: Predictor,
        cases: Sequence[Callable[[], tuple[Volume, Volume]]],
        seed: int = 0,
        progress: bool = False,
    ) -> Fit:
        """Fits the temperature, which is the one counted at from now on.

        From every case as many voxels are drawn near truth and prediction, 262,144 in all, and nothing else of it is
        kept.

        Args:
            predictor: image to mask.
            cases: each gives an image and its label map on the image's grid.
            seed: of the draw.
            progress: show a bar.

        Raises:
            InputError: no case has anything labelled or predicted.
        """
        samples: list[tuple[torch.Tensor, torch.Tensor]] = []
        most = max(1, _MOST_VOXELS // max(1, len(cases)))
        for index, case in enumerate(tracked(cases, "calibrating", progress)):
            image, label = case()
            watch = SampleWatch(label, self.restore.activation, self.restore.threshold, most, seed + index)
            predictor(image, observer=watch)
            samples.append(watch.sample())
        logits, truth = (torch.cat(parts) for parts in zip(*samples, strict=True))
        if not len(truth):
            raise InputError("nothing is labelled or predicted in any case to calibrate on; choose others")
        fit = fit_temperature(logits, truth, self.restore.activation)
        self._use(fit.temperature)
        return fit

    def watch(self, label: Volume) -> ReliabilityWatch:
        """What looks on while a case with this truth is predicted."""
        return ReliabilityWatch(label, self.restore.activation, self.restore.threshold, self._temperatures)

    def count(self, watch: ReliabilityWatch) -> None:
        """Counts a case that was watched."""
        watch.count(self._everywhere, self._near)

    def result(self) -> dict[str, Any]:
        """What `metrics.json` says of it: errors before and, at another temperature than 1, after."""
        before, *after = (
            {
                "error_all": _rounded(everywhere.expected_calibration_error),
                "error_near": _rounded(near.expected_calibration_error),
                "voxels_all": everywhere.voxels,
                "voxels_near": near.voxels,
                "diagram_near": near.diagram(),
            }
            for everywhere, near in zip(self._everywhere, self._near, strict=True)
        )
        return {
            "convention": CONVENTION,
            "temperature": self._temperatures[-1],
            "before": before,
            "after": after[0] if after else None,
        }

    def _use(self, temperature: float) -> None:
        self._temperatures = [1.0] if temperature == 1 else [1.0, temperature]
        self._everywhere = [Reliability() for _ in self._temperatures]
        self._near = [Reliability() for _ in self._temperatures]


def _rounded(error: float | None) -> float | None:
    return None if error is None else round(error, 6)
