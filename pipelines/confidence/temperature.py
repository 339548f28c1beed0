"""One number that makes a network's probabilities honest: fitted, written beside the metrics, read again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.optimize import minimize_scalar

from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.engine.combine import Activation
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.store.local_copy import local_copy
from radseg.pipelines.weights import sha256_of_all

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures that are tried."""


@dataclass(frozen=True)
class Fit:
    """A temperature and what it does to the sample that it was fitted on.

    Attributes:
        temperature: what logits are to be divided by.
        nll_before, nll_after: mean negative log-likelihood of the true labels (nats) at 1 and at the temperature.
        voxels: size of the sample.
        members: how many networks or flips answered for each voxel.
        at_limit: whether it is one of the last that were tried, so that the sample itself has no best one: all of it
            is right, or what it says is no better than chance.
    """

    temperature: float
    nll_before: float
    nll_after: float
    voxels: int
    members: int
    at_limit: bool


def fit_temperature(logits: torch.Tensor, truth: torch.Tensor, activation: Activation) -> Fit:
    """The temperature that makes the true labels likeliest.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, §4.2; of several members the likelihood is that
    of their mean probability, each of them at the temperature. Brent's method on its logarithm: a single member's
    negative log-likelihood is convex in 1/T, so it has no other minimum.

    Args:
        logits: (voxels, members, classes).
        truth: label of each voxel, (voxels); of "sigmoid", which has one class, anything above 0 is it.
        activation: the network's.
    """
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits, truth, activation, math.exp(log_temperature))

    found = minimize_scalar(loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    temperature = round(math.exp(float(found.x)), 4)
    voxels, members, _ = logits.shape
    at_limit = not 1.01 * LOWEST < temperature < HIGHEST / 1.01
    return Fit(temperature, loss(0.0), loss(math.log(temperature)), voxels, members, at_limit)


def negative_log_likelihood(
    logits: torch.Tensor, truth: torch.Tensor, activation: Activation, temperature: float = 1.0
) -> float:
    """Mean of −log p of each voxel's true label, in nats; arguments as for `fit_temperature`."""
    scaled = logits / temperature
    if activation == "softmax":
        each = torch.log_softmax(scaled, -1).gather(2, truth[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
    else:
        each = torch.nn.functional.logsigmoid(torch.where(truth[:, None] > 0, scaled[..., 0], -scaled[..., 0]))
    return float(-(torch.logsumexp(each, 1) - math.log(logits.shape[1])).mean())


def temperature_of(given: float | str | Path | None, weights: Sequence[Path | str]) -> float:
    """A temperature from a number, or from the `temperature.json` that `evaluate --calibrate` wrote; 1 of None.

    Args:
        given: the number or the file (or its URL).
        weights: the files of the weights that it is for.

    Raises:
        ConfigError: the file is missing, holds no temperature, or was fitted for other weights.
    """
    if given is None:
        return 1.0
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    file = local_copy(str(given))
    if not file.is_file():
        raise ConfigError(f"{given}: no such temperature; give a number, or what `radseg evaluate --calibrate` wrote")
    try:
        content = read_json(file)
    except UnicodeDecodeError:
        content = {}
    value = content.get("temperature")
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigError(f"{given}: holds no temperature; give the temperature.json of `radseg evaluate --calibrate`")
    files = [local_copy(one, beside=(".sha256",)) for one in weights]
    if all(one.is_file() for one in files):  # whoever loads them says which one is missing
        found, fitted_for = sha256_of_all(files), content.get("weights_sha256")
        if found != fitted_for:
            raise ConfigError(
                f"{given}: was fitted for other weights ({str(fitted_for)[:12]}…, these are {found[:12]}…); "
                "fit one with `radseg evaluate --calibrate`, or give a number"
            )
    return float(value)
