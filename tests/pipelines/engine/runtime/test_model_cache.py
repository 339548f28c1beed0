"""A network is converted once on a machine: later runs load it, and never a stale or damaged one."""

import os
import stat
import subprocess
import sys

import pytest
import torch

from radseg.networks import AttentionUNet
from radseg.pipelines.engine.runtime import RuntimeNetwork, openvino_cpu
from radseg.pipelines.engine.runtime.conversion import convert
from radseg.pipelines.engine.runtime.model_cache import ModelCache
from radseg.pipelines.engine.runtime.model_key import model_key


@pytest.fixture
def conversions(monkeypatch):
    """Shapes that were converted so far."""
    seen = []

    def counted(network, shape):
        seen.append(shape)
        return convert(network, shape)

    monkeypatch.setattr(openvino_cpu, "convert", counted)
    return seen


def agrees(run, network, x):
    with torch.no_grad():
        torch.testing.assert_close(run(x), network(x), rtol=0, atol=1e-4)


def test_the_second_run_loads_without_converting(build, runtime_network, conversions):
    net, x = build("shallow")
    agrees(runtime_network(net, "openvino"), net, x)
    agrees(runtime_network(build("shallow")[0], "openvino"), net, x)
    runtime_network(net, "openvino", precision="fast")(x)  # the same model, computed in 16 bits
    assert conversions == [(1, 1, 32, 48)]


SECOND_PROCESS = """
import sys, torch
from radseg.networks import AttentionUNet
from radseg.pipelines.engine.runtime import RuntimeNetwork, openvino_cpu

def convert(network, shape):
    raise AssertionError("converted again")

torch.set_num_threads(1)
openvino_cpu.convert = convert
torch.manual_seed(0)
net = AttentionUNet(features=(2, 4))
run = RuntimeNetwork(net, "openvino", cache_dir=sys.argv[1])
logits = run(torch.ones(1, 1, 16, 16))
assert torch.allclose(logits, net(torch.ones(1, 1, 16, 16)), atol=1e-4)
print(run.runtime, run.notes)
"""


def test_another_process_loads_what_the_first_one_kept(tmp_path, runtime_network):
    torch.manual_seed(0)
    runtime_network(AttentionUNet(features=(2, 4)), "openvino")(torch.ones(1, 1, 16, 16))
    command = [sys.executable, "-W", "ignore", "-c", SECOND_PROCESS, str(tmp_path / "cache")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "openvino []"), ended.stderr


def test_other_weights_windows_and_settings_are_converted_anew(build, runtime_network, conversions):
    net, x = build("shallow")
    runtime_network(net, "openvino")(x)
    other = build("shallow")[0]
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-3
    agrees(runtime_network(other, "openvino"), other, x)
    agrees(runtime_network(net, "openvino"), net, torch.randn(1, 1, 48, 32))
    assert len(conversions) == 3


def test_the_key_follows_settings_that_no_weight_shows(build):
    net, _ = build("spine")
    before = model_key(net, (1, 1, 32, 32, 32))
    assert before == model_key(build("spine")[0], (1, 1, 32, 32, 32))
    net.rbrab.attention.max_keys = 8
    assert model_key(net, (1, 1, 32, 32, 32)) != before


def test_the_key_follows_the_source_code_of_a_networks_blocks(tmp_path, monkeypatch):
    package = tmp_path / "somebodys_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "block.py").write_text("def double(x):\n    return x * 2\n")
    (package / "net.py").write_text(
        "from torch import nn\nfrom somebodys_nets.block import double\n\n"
        "class Net(nn.Module):\n    def forward(self, x):\n        return double(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from somebodys_nets.net import Net

    before = model_key(Net(), (1, 1, 8, 8))
    (package / "block.py").write_text("def double(x):\n    return x + x\n")
    assert model_key(Net(), (1, 1, 8, 8)) != before


def test_a_network_without_a_source_file_is_not_kept(tmp_path, runtime_network):
    class Typed(torch.nn.Conv2d):
        pass

    Typed.__module__ = "typed_at_a_prompt"
    run = runtime_network(Typed(1, 2, 1), "openvino")
    assert run(torch.ones(1, 1, 8, 8)).shape == (1, 2, 8, 8)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "sha256"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_file_is_converted_anew_and_mended(name, damage, tmp_path, build, runtime_network, conversions):
    net, x = build("shallow")
    runtime_network(net, "openvino")(x)
    (entry,) = (tmp_path / "cache").iterdir()
    content = (entry / name).read_bytes()
    (entry / name).unlink()  # not written over: a mapped file would change under its reader
    if damage != "missing":
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        (entry / name).write_bytes(content[:middle] if damage == "truncated" else changed)
    agrees(runtime_network(net, "openvino"), net, x)
    assert len(conversions) == 2
    agrees(runtime_network(net, "openvino"), net, x)
    assert len(conversions) == 2


def test_a_folder_that_cannot_be_written_costs_a_note_and_nothing_else(tmp_path, build, runtime_network):
    (tmp_path / "cache").write_text("a file where the folder should be")
    net, x = build("shallow")
    run = runtime_network(net, "openvino")
    agrees(run, net, x)
    agrees(run, net, torch.randn(1, 1, 48, 32))
    assert run.runtime == "openvino"
    assert run.notes == [
        "the converted network could not be kept on disk (File exists): the next run converts it again"
    ]


def test_models_lie_in_the_users_cache_for_the_user_alone(home, build):
    net, x = build("shallow")
    RuntimeNetwork(net)(x)
    folder = home / ".cache" / "radseg" / "runtime"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (entry,) = folder.iterdir()
    assert sorted(file.name for file in entry.iterdir()) == ["model.bin", "model.xml", "sha256"]
    assert stat.S_IMODE(entry.stat().st_mode) == 0o700


def test_above_the_limit_what_was_unused_for_longest_goes(tmp_path):
    notes = []
    networks = {name: torch.nn.Conv2d(1, 64, 5) for name in ("a", "b", "c")}  # 6,656 bytes of weights each
    cache = ModelCache(tmp_path, notes.append, limit_bytes=30_000)
    for age, name in enumerate(("a", "b")):
        assert cache.write(name, convert(networks[name], (1, 1, 8, 8)))
        os.utime(tmp_path / name, (1_000_000 + age, 1_000_000 + age))
    assert cache.read("a") is not None  # used again: now b is the oldest
    size = sum(file.stat().st_size for file in (tmp_path / "a").glob("model.*"))
    limited = ModelCache(tmp_path, notes.append, limit_bytes=int(2.5 * size))
    assert limited.write("c", convert(networks["c"], (1, 1, 8, 8)))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "c"]
    assert notes == []
