"""Clocks for what waits or tells the time, so that no test does."""

import threading


class SetClock:
    """A clock that only a pause, or the test itself, moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


class ClockOfEachThread(threading.local):
    """A `SetClock` in each thread, since one thread's pauses would use up the others' patience."""

    def __init__(self) -> None:
        self.own = SetClock()

    def sleep(self, seconds: float) -> None:
        self.own.sleep(seconds)

    def __call__(self) -> float:
        return self.own()
