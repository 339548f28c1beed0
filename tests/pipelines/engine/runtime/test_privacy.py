"""Converting and running a network tells nobody: no telemetry is made, no connection opened, no identity written."""

import os
import subprocess
import sys

WATCHED = """
import socket, sys
import torch

def refuse(*args, **options):
    raise AssertionError("the network was used")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from radseg.networks import AttentionUNet
from radseg.pipelines.engine.runtime import RuntimeNetwork

run = RuntimeNetwork(AttentionUNet(features=(2, 4)), "openvino")
run(torch.ones(1, 1, 16, 16))
import openvino
openvino.convert_model(torch.nn.Identity(), example_input=torch.ones(1, 4))  # somebody's own, later on
print(run.runtime, run.notes, [name for name in sys.modules if name.startswith("openvino_telemetry.")])
"""


def test_no_telemetry_leaves_even_where_nobody_opted_out(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    command = [sys.executable, "-W", "ignore", "-c", WATCHED]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**environment, "HOME": str(tmp_path)}
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "openvino [] []"), ended.stderr
    # OpenVINO's telemetry keeps a client's identity and consent below the home folder
    assert {entry.name for entry in tmp_path.iterdir()} <= {".cache", ".config"}  # the latter is matplotlib's
