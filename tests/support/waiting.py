"""Waiting for what another process or thread does."""

import time
from typing import Any


def wait_for(condition: Any, within_s: float, what: Any = lambda: "") -> None:
    """Waits until a condition holds.

    Raises:
        AssertionError: it doesn't within so many seconds.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what()}"
        time.sleep(0.05)
