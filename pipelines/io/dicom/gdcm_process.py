"""GDCM at arm's length: its JPEG decoder runs in processes of its own, so that a damaged file ends only one of them."""

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydicom.pixels import get_decoder
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

if sys.platform == "linux":
    import fcntl

PLUGIN = "gdcm-process"
"""Name of the decoder that is added to pydicom's for lossless JPEG, which no other that it has can read."""

DECODER_DEPENDENCIES = {JPEGLossless: ("gdcm",), JPEGLosslessSV1: ("gdcm",)}
_LONGEST_S = 120.0
_PIPE_BYTES = 1 << 20  # a slice in one go: a sixth faster than with the usual 64 KiB
_MOST_IDLE = os.cpu_count() or 1
_WORKER = Path(__file__).with_name("gdcm_worker.py")

_lock = threading.Lock()
_idle: list["subprocess.Popen[bytes]"] = []
_of_parent: list["subprocess.Popen[bytes]"] = []


def is_available(uid: str) -> bool:
    """Whether the decoder reads this transfer syntax; pydicom asks."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(codestream: bytes, runner: Any) -> bytes:
    """Decode one frame; pydicom calls it.

    Args:
        codestream: the frame.
        runner: pydicom's DecodeRunner, which knows the image's size and kind.

    Raises:
        ValueError: the decoder gave no image or died of it.
    """
    request = {
        "syntax": str(runner.transfer_syntax),
        "rows": runner.rows,
        "columns": runner.columns,
        "samples": runner.samples_per_pixel,
        "planar": runner.planar_configuration if runner.samples_per_pixel > 1 else 0,
        "photometric": str(runner.photometric_interpretation),
        "bits_allocated": runner.bits_allocated,
        "bits_stored": runner.bits_stored,
        "signed": runner.pixel_representation,
        "bytes": len(codestream),
    }
    return _asked(request, codestream)


def decode_file(path: Path) -> bytes:
    """The stored values of all frames of a DICOM file, as its own header has them.

    Raises:
        ValueError: the decoder gave no image or died of it.
    """
    return _asked({"file": str(path.absolute())}, b"")


def _asked(request: dict[str, Any], codestream: bytes) -> bytes:
    message = json.dumps(request).encode() + b"\n" + codestream
    with _lock:
        idle = _idle.pop() if _idle else None
    try:
        values = None if idle is None else _answer(idle, message)
    except (OSError, EOFError):  # of something else, perhaps, such as memory that the system wanted back
        values = None
    if values is None:
        try:
            values = _answer(_started(), message)
        except (OSError, EOFError) as error:
            raise ValueError("the decoder died of it") from error
    if not values:
        raise ValueError("the decoder gave no image")
    return values


def _answer(worker: "subprocess.Popen[bytes]", message: bytes) -> bytes:
    """What the worker makes of a request; it is kept for the next one, or ended if it failed."""
    try:
        deadline = time.monotonic() + _LONGEST_S
        _send(worker, message, deadline)
        values = _received(worker, int.from_bytes(_received(worker, 8, deadline), "little"), deadline)
    except BaseException:
        _end(worker)
        raise
    with _lock:
        kept = len(_idle) < _MOST_IDLE
        if kept:
            _idle.append(worker)
    if not kept:
        _end(worker)
    return values


def _started() -> "subprocess.Popen[bytes]":
    # -P: the files beside the worker aren't to be taken for other modules. A session of its own: Ctrl-C on a terminal
    # would end the worker too, and its file would be told as the one that it died of.
    command = [sys.executable, "-P", str(_WORKER)]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, bufsize=0, start_new_session=True)
    assert worker.stdin is not None
    assert worker.stdout is not None
    os.set_blocking(worker.stdin.fileno(), False)  # else a worker that reads nothing would hold up this process
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # beyond what a user may have in all pipes
            fcntl.fcntl(worker.stdin, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            fcntl.fcntl(worker.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return worker


def _send(worker: "subprocess.Popen[bytes]", content: bytes, deadline: float) -> None:
    """Write all of it to the worker.

    Raises:
        OSError: the worker died.
        ValueError: it takes too long.
    """
    assert worker.stdin is not None
    left = memoryview(content)
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdin, selectors.EVENT_WRITE)
        while left:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ValueError(f"the decoder didn't end within {_LONGEST_S:g} s")
            left = left[os.write(worker.stdin.fileno(), left) :]


def _received(worker: "subprocess.Popen[bytes]", count: int, deadline: float) -> bytes:
    """Exactly that many bytes of the worker's answer.

    Raises:
        EOFError: the worker died.
        ValueError: it takes too long.
    """
    assert worker.stdout is not None
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while len(received) < count:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ValueError(f"the decoder didn't end within {_LONGEST_S:g} s")
            part = worker.stdout.read(count - len(received))
            if not part:
                raise EOFError
            received += part
    return bytes(received)


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.kill()
    _close(worker)
    worker.wait()


def _close(worker: "subprocess.Popen[bytes]") -> None:
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            pipe.close()


def _after_fork() -> None:
    """The parent's workers answer the parent only, and end when it closes their input."""
    global _lock
    _lock = threading.Lock()
    for worker in _idle:
        _close(worker)
    _of_parent.extend(_idle)
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())


for _syntax in DECODER_DEPENDENCIES:
    if PLUGIN not in get_decoder(_syntax).available_plugins:
        get_decoder(_syntax).add_plugin(PLUGIN, (__name__, "decode_frame"))
