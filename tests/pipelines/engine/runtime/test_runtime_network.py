"""What a caller of RuntimeNetwork may rely on, whatever runs underneath."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from radseg.pipelines.engine.runtime import RuntimeNetwork
from radseg.pipelines.engine.runtime.base import Loaded
from radseg.pipelines.engine.runtime.cuda_graph import CudaGraph
from radseg.pipelines.engine.runtime.eager import Eager
from radseg.pipelines.errors import ConfigError

CPU_RUNTIMES = ("torch", "openvino")


def close(a, b):
    """Whether two answers are alike in shape, type and place, and their values within 1e-4."""
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    return True


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_batches_of_any_size_and_windows_of_any_shape_get_their_own_answers(runtime, build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, runtime)
    with torch.inference_mode():
        for windows in (x[:2], x[:1], x, torch.randn(2, 1, 48, 32), x[1:]):
            assert close(run(windows), net(windows))


def test_more_windows_than_threads_run_side_by_side_and_stay_in_order(build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, "openvino")
    many = torch.randn(7, *x.shape[1:])
    torch.set_num_threads(2)
    answers = [run(many[:1]), run(many)]
    torch.set_num_threads(1)
    with torch.no_grad():
        assert close(answers[0], net(many[:1]))
        assert close(answers[1], net(many))


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_no_later_call_changes_an_answer(runtime, build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, runtime)
    first = run(x)
    kept = first.clone()
    run(-x)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_threads_share_one_network(runtime, build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, runtime)
    windows = [torch.randn_like(x) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, windows))
    with torch.no_grad():
        for answer, each in zip(answers, windows, strict=True):
            assert close(answer, net(each))


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_windows_that_are_cut_out_transposed_or_16_bit_are_understood(runtime, build, runtime_network):
    net, _ = build("shallow")
    run = runtime_network(net, runtime)
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        for window in (image[..., 3:35, 5:53], image[..., 5:53, 3:35].transpose(2, 3), image[..., :32, :48].half()):
            assert close(run(window), net(window.float().contiguous()))


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_new_weights_count_from_the_next_call_on(runtime, build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, runtime)
    before = run(x)
    net.load_state_dict({name: value * 0.9 for name, value in net.state_dict().items()})
    with torch.no_grad():
        after = net(x)
    assert (after - before).abs().max() > 1e-3
    assert close(run(x), after)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_dropout_is_off_even_if_somebody_trains_the_network_meanwhile(runtime, build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, runtime)
    before = run(x)
    run.train()
    assert not run.training
    net.train()
    assert torch.equal(run(x), before)


def test_exact_is_float32_even_under_a_callers_autocast(build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, "torch")
    with torch.no_grad():
        logits = net(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert close(run(x), logits)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_it_is_named_in_a_monai_config_and_called_by_monais_own_inferer(runtime, build, tmp_path):
    net, _ = build("shallow")
    config = ConfigParser(
        {
            "network": "$None",
            "run": {
                "_target_": "radseg.pipelines.engine.runtime.RuntimeNetwork",
                "network": "@network",
                "runtime": runtime,
                "cache_dir": str(tmp_path),
            },
        }
    )
    config["network"] = net
    run = config.get_parsed_content("run")
    image = MetaTensor(torch.randn(1, 1, 70, 50))
    inferer = SlidingWindowInferer((32, 48), sw_batch_size=4, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        assert close(inferer(image, run), inferer(image, net))
    assert run.runtime == runtime


def test_auto_takes_openvino_on_a_cpu(build, runtime_network):
    run = runtime_network(build("shallow")[0])
    assert (run.runtime, run.notes) == ("openvino", [])


@pytest.mark.parametrize("runtime", ["auto", "openvino"])
def test_without_openvino_torch_runs_and_says_so(runtime, build, runtime_network, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    net, x = build("shallow")
    run = runtime_network(net, runtime)
    with torch.no_grad():
        assert close(run(x), net(x))
    assert run.runtime == "torch"
    assert run.notes == ["openvino is not installed: torch ran the network"]


class Scripted(nn.Module):
    """Has a layer that no runtime but torch knows."""

    def forward(self, x):
        return Unknown.apply(x) * 2


class Unknown(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.special.bessel_j0(x)


def test_a_layer_that_openvino_refuses_is_run_by_torch_with_one_line(runtime_network):
    run = runtime_network(Scripted(), "openvino")
    x = torch.randn(2, 1, 8, 8)
    for windows in (x, x[:1], torch.randn(1, 1, 4, 4)):
        assert close(run(windows), torch.special.bessel_j0(windows) * 2)
    assert run.runtime == "torch"
    assert len(run.notes) == 1
    assert run.notes[0].startswith("openvino can't run the network (")
    assert run.notes[0].endswith(": torch ran it instead")
    assert "\n" not in run.notes[0]


def test_a_network_that_cannot_be_compiled_is_run_by_torch_with_one_line(build, runtime_network, monkeypatch):
    def no_compiler(*args, **options):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", no_compiler)
    net, x = build("shallow")
    run = runtime_network(net, "compiled")
    with torch.no_grad():
        assert close(run(x), net(x))
    assert run.runtime == "torch"
    assert run.notes == [
        "compiled can't run the network (RuntimeError: No working C++ compiler found): torch ran it instead"
    ]


def test_a_mistake_in_the_windows_is_torchs_own_error_and_changes_no_runtime(build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net, "openvino")
    with pytest.raises(ValueError, match="AttentionUNet"):
        run(torch.randn(1, 2, 32, 48))
    assert run.runtime == "openvino"
    assert run(x).shape == x.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "openvin"}, "did you mean 'openvino'"),
        ({"runtime": "xyz"}, "there are auto, torch, compiled, openvino, cuda"),
        ({"precision": "exakt"}, "did you mean 'exact'"),
        ({"runtime": "cuda"}, "needs a CUDA device"),
    ],
    ids=["misspelt", "unknown", "precision", "cuda-on-a-cpu"],
)
def test_a_name_that_cannot_be_is_refused_with_the_remedy(options, message):
    with pytest.raises(ConfigError, match=message):
        RuntimeNetwork(nn.Identity(), **options)


class FullGpu(CudaGraph):
    """Stands for a GPU that holds `most` windows."""

    most = 2
    loads: list[int]

    def load(self, network, shape):
        self.loads.append(shape[0])

        def run(windows):
            if shape[0] > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return network(windows)

        return Loaded(run, most=shape[0])


@pytest.fixture
def full_gpu(build, runtime_network):
    net, x = build("shallow")
    run = runtime_network(net)
    run._runs_on = FullGpu.__new__(FullGpu)
    run._runs_on.loads = []
    return run, net, x


def test_after_running_out_of_memory_fewer_windows_are_not_filled_up_again(full_gpu):
    run, _, x = full_gpu
    with pytest.raises(torch.OutOfMemoryError):
        run(x)
    assert run(x[:2]).shape == (2, *x.shape[1:])
    run(x[:1])
    assert run._runs_on.loads == [3, 2]
    assert run.notes == []


def test_falling_back_to_the_cpu_is_noted_once_and_leaves_other_users_of_the_network_alone(full_gpu):
    run, net, x = full_gpu
    run.device = torch.device("meta")  # any device that isn't the CPU
    for _ in range(2):
        run.fall_back_to_cpu()
    assert (run.runtime, run.device.type) == ("openvino", "cpu")
    assert run.notes == ["out of GPU memory: went on on the CPU"]
    assert run.network is not net
    with torch.no_grad():
        assert close(run(x), net(x))


def test_nothing_happens_when_it_is_on_the_cpu_already(build, runtime_network):
    run = runtime_network(build("shallow")[0])
    run.fall_back_to_cpu()
    assert run.notes == []


def test_torch_itself_fails_with_torchs_error(build, runtime_network, monkeypatch):
    def broken(self, network, shape):
        raise RuntimeError("broken")

    monkeypatch.setattr(Eager, "load", broken)
    net, x = build("shallow")
    with pytest.raises(RuntimeError, match="broken"):
        runtime_network(net, "torch")(x)
