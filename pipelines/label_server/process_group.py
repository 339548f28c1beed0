"""Ending a process with all that it has started, whether or not that is still in its group."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def end_group(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """Ends a process, its group and whatever has left the group: politely, then not."""
    others = _descendants(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for number, born in others.items():
        if _born(number) == born:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    process.wait()


def _descendants(pid: int) -> dict[int, str]:
    """Children of a process, theirs, and so on, with when each was born: numbers are used again."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found[child] = _born(child)
            waiting.append(child)
    return found


def _born(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
