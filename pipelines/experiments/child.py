"""A run in a process of its own: its memory is its own, and what ends it doesn't end the experiment."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from types import FrameType

from radseg.pipelines.errors import RadsegError, one_line
from radseg.pipelines.experiments.runs import Job, fail, read_run, run

_PROGRAM = (sys.executable, "-P", "-m", __name__)
_KILLED = {"SIGKILL": " (out of memory, most often)"}


def run_in_child(job: Job, held_files: Sequence[int] = ()) -> None:
    """Runs a job in a new process and waits for it; how it ended stands in the job's folder.

    Ctrl-C or SIGTERM here has the run end in order, so that the next start goes on with it. If this process is killed,
    the run ends too.

    Args:
        job: to run.
        held_files: descriptors that the run holds open as long as it lives, such as a lock's.

    Raises:
        ConfigError: the folder can't be written.
    """
    before = read_run(job.place)
    # a session of its own, since Ctrl-C on a terminal reaches a whole group: the run is told once, below
    process = subprocess.Popen(_PROGRAM, stdin=subprocess.PIPE, start_new_session=True, pass_fds=held_files)
    try:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"verbose": _verbose(), "job": asdict(job)}).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended before it read; its exit code is told below
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        if process.stdin is not None:
            process.stdin.close()
    ended = read_run(job.place)
    if ended is None or (code != 0 and ended == before):
        how = f"exit code {code}"
        if code < 0:
            name = signal.Signals(-code).name
            how = name + _KILLED.get(name, "")
        fail(job, f"the run's process ended with {how}; run the experiment again to go on")


def main() -> None:
    """Reads a job from standard input and runs it; ends in order when it is told to or when its parent is gone."""
    order = json.loads(sys.stdin.readline())
    verbose = order["verbose"]
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("radseg").setLevel(logging.DEBUG if verbose else logging.ERROR)
    logging.getLogger("ignite").setLevel(logging.WARNING if verbose else logging.CRITICAL)
    if not verbose:
        warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run(Job(**order["job"]))
    except KeyboardInterrupt:
        raise SystemExit(143) from None
    except RadsegError as error:
        raise SystemExit(f"error: {one_line(error)}") from None


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _verbose() -> bool:
    return logging.getLogger("radseg").getEffectiveLevel() <= logging.DEBUG


if __name__ == "__main__":
    main()
