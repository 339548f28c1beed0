"""The CUDA runtime, where there is a GPU: the logits of torch, replayed for any batch that fits."""

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", ["spine", "spine-2d", "lung-ct", "lung-xray", "pelvis-xray"])
@pytest.mark.parametrize(("precision", "bound"), [("exact", 1e-3), ("fast", 0.05)])
def test_cuda_agrees_with_the_cpu(name, precision, bound, build, runtime_network):
    network, x = build(name)
    with torch.no_grad():
        logits = network(x)
    run = runtime_network(network, "auto", precision=precision, device="cuda")
    with torch.inference_mode():
        answers = [run(x), run(x[:1]), run(x.cuda())]
    assert (run.runtime, run.notes) == ("cuda", [])
    assert answers[0].device.type == "cuda"
    assert answers[0].dtype == torch.float32
    for answer in answers:
        assert (answer.cpu() - logits[: len(answer)]).abs().mean() <= bound * logits.std()


def test_after_falling_back_the_cpu_goes_on(build, runtime_network):
    network, x = build("lung-ct")
    run = runtime_network(network, device="cuda")
    before = run(x).cpu()
    run.fall_back_to_cpu()
    after = run(x)
    assert (run.runtime, after.device.type) == ("openvino", "cpu")
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)


def test_a_network_that_looks_at_its_values_runs_without_a_graph(runtime_network):
    class Looks(torch.nn.Module):
        def forward(self, x):
            return x * 2 if x.sum().item() > 0 else x * 3

    run = runtime_network(Looks(), device="cuda")
    assert run(torch.ones(1, 1, 4, 4)).mean() == 2
    assert run(-torch.ones(1, 1, 4, 4)).mean() == -3
    assert run.notes == ["the network can't be captured as a CUDA graph: it ran kernel by kernel"]
