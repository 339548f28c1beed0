"""A process that has used OpenVINO still survives the signals that Python handles."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

PROGRAM = """
import faulthandler, gc, os, signal
faulthandler.enable()
import torch
from radseg.networks import AttentionUNet
from radseg.pipelines.engine.runtime import RuntimeNetwork

for size in (16, 32):
    networks = [RuntimeNetwork(AttentionUNet(features=(2, 4)).eval(), "openvino") for _ in range(2)]
    for network in networks:
        assert network(torch.ones(1, 1, size, size)).shape[-1] == size and network.runtime == "openvino"
    del networks[0], network
    gc.collect()
    del networks
    gc.collect()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_networks_have_come_and_gone_is_an_interruption_and_no_crash() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "interrupted"), ended.stderr
