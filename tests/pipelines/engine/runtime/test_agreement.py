"""Every runtime gives the logits that torch gives, for all four bundles' networks."""

import functools
import shutil

import pytest
import torch

NAMES = ("spine", "spine-2d", "lung-ct", "lung-xray", "pelvis-xray")
# In standard deviations of the logits. Float32 sums in another order; bfloat16 keeps 8 bits and its errors add up over
# the layers. Measured here: exact 2e-5 at most; fast 0.017 on average and 0.13 at most.
EXACT, FAST_MEAN, FAST = 1e-4, 0.03, 0.3


def expected(network, x):
    with torch.no_grad():
        logits = network(x)
    assert logits.std() > 0.05  # agreement of constants would prove nothing
    return logits


def off(answer, logits):
    """Mean and greatest difference in standard deviations."""
    difference = (answer - logits).abs() / logits.std()
    return difference.mean(), difference.max()


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("name", NAMES)
def test_a_runtime_is_exact_or_fast_as_asked_for(name, runtime, build, runtime_network):
    network, x = build(name)
    logits = expected(network, x)
    exact, fast = (runtime_network(network, runtime, precision=precision) for precision in ("exact", "fast"))
    with torch.inference_mode():
        answers = exact(x), fast(x)
    assert [answer.dtype for answer in answers] == [torch.float32] * 2
    assert off(answers[0], logits)[1] <= EXACT
    mean, most = off(answers[1], logits)
    assert mean <= FAST_MEAN
    assert most <= FAST
    assert [run.runtime for run in (exact, fast)] == [runtime] * 2
    assert exact.notes == fast.notes == []


def assert_compiled_agrees(network, x, runtime_network):
    torch._dynamo.reset()
    logits = expected(network, x)
    compiled = runtime_network(network, "compiled")
    assert off(compiled(x), logits)[1] <= EXACT
    # the last batch is smaller, and the mode another one: neither is compiled for again
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    with torch.inference_mode():
        assert off(compiled(x[:1].clone()), logits[:1])[1] <= EXACT
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    assert (compiled.runtime, compiled.notes) == ("compiled", [])


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_is_exact(name, build, runtime_network):
    assert_compiled_agrees(*build(name), runtime_network)


def test_a_network_is_compiled_as_one_graph_for_all_batches(build, runtime_network, monkeypatch):
    # everything of torch.compile but the machine code, whose compiler takes most of a minute
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    assert_compiled_agrees(*build("lung-ct"), runtime_network)
