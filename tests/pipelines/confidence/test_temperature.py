"""A temperature is found again where one was put in, and belongs to its weights."""

import json
from pathlib import Path

import pytest
import torch

from radseg.pipelines.confidence import temperature_of
from radseg.pipelines.confidence.temperature import HIGHEST, LOWEST, fit_temperature, negative_log_likelihood
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.weights import sha256_of


def drawn(classes: int, members: int = 1, voxels: int = 40_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Honest logits (voxels, members, classes), and labels drawn as often as they say."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(voxels, 1, classes, generator=random) * 2
    if classes == 1:
        truth = (torch.rand(voxels, generator=random) < torch.sigmoid(logits[:, 0, 0])).long()
    else:
        truth = torch.multinomial(torch.softmax(logits[:, 0], 1), 1, generator=random)[:, 0]
    return logits.expand(-1, members, -1).contiguous(), truth


@pytest.mark.parametrize(("classes", "activation"), [(1, "sigmoid"), (3, "softmax")])
@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_logits_blown_up_by_a_factor_have_that_temperature(
    classes: int, activation: str, members: int, factor: float
) -> None:
    logits, truth = drawn(classes, members)
    fit = fit_temperature(logits * factor, truth, activation)  # type: ignore[arg-type]
    assert fit.temperature == pytest.approx(factor, rel=0.04)  # 40,000 draws: a standard error of about 1 %
    assert fit.nll_after <= fit.nll_before
    assert (fit.voxels, fit.members, fit.at_limit) == (40_000, members, False)


def test_the_likelihood_is_that_of_the_mean_probability() -> None:
    p = torch.tensor([[0.9, 0.5]])
    expected = -torch.log(torch.tensor(0.7))
    found = negative_log_likelihood(p.logit()[..., None], torch.tensor([1]), "sigmoid")
    assert found == pytest.approx(float(expected), abs=1e-6)
    both = torch.stack([1 - p, p], -1).log()
    assert negative_log_likelihood(both, torch.tensor([1]), "softmax") == pytest.approx(float(expected), abs=1e-6)


def test_a_sample_that_is_all_right_or_all_wrong_has_no_best_temperature() -> None:
    logits = torch.tensor([-4.0, 4.0]).reshape(2, 1, 1)
    right = fit_temperature(logits, torch.tensor([0, 1]), "sigmoid")
    wrong = fit_temperature(logits, torch.tensor([1, 0]), "sigmoid")
    assert right.at_limit
    assert right.temperature < 1
    assert wrong.at_limit
    assert LOWEST <= right.temperature < wrong.temperature <= HIGHEST


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path / "model.pt"


def test_a_number_or_the_file_of_evaluate_is_taken(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "temperature.json"
    file.write_text(json.dumps({"temperature": 1.7, "weights_sha256": sha256_of(weights)}))
    assert temperature_of(file, [weights]) == temperature_of(str(file), [weights]) == 1.7
    assert temperature_of(2, [weights]) == 2.0
    assert temperature_of(None, [weights]) == 1.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"temperature": 1.7, "weights_sha256": "0123456789abcdef"}', "fitted for other weights"),
        (b'{"temperature": "warm"}', "holds no temperature"),
        (b'{"temperature": true}', "holds no temperature"),
        (b"\x80\x02}", "holds no temperature"),
        (b"{", "line 1"),
    ],
)
def test_what_is_no_temperature_of_these_weights_is_refused_in_a_line(
    content: bytes, said: str, weights: Path, tmp_path: Path
) -> None:
    file = tmp_path / "temperature.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as refusal:
        temperature_of(file, [weights])
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such temperature; give a number"):
        temperature_of("nowhere.json", [weights])
