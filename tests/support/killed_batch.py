"""A process that runs batches in forked children, which are killed as they touch their n-th file.

Reads a JSON object a line: "arguments" of `segment`, the "folder" that is watched, "kill_at" (which touch is the last,
null for none). Answers with a JSON object: "touched" (how many there were), "killed", "failed".
"""

import importlib
import json
import os
import signal
import sys
from typing import Any

import torch

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.segment import segment

_SLOW = ("torch._dynamo", "radseg.pipelines.dicom_out.segmentation")
_TOUCHES = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree"}


def _watch(folder: str, kill_at: int | None) -> list[int]:
    touched = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _TOUCHES and any(str(one).startswith(folder) for one in arguments[:2]):
            touched[0] += 1
            if touched[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return touched


def _child(order: dict[str, Any], answer: int) -> None:
    touched = _watch(order["folder"], order["kill_at"])
    batch = segment(**order["arguments"], progress=False)
    os.write(answer, json.dumps({"touched": touched[0], "killed": False, "failed": batch.failed}).encode())


def main() -> None:
    """Works through the orders on standard input."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        for module in _SLOW:  # what is imported here, children needn't
            importlib.import_module(module)
        load_workflow(order["arguments"]["bundle"], "inference")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _child(order, writing)
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            said = stream.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write((said.decode() or json.dumps({"touched": None, "killed": killed, "failed": None})) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
