"""What a batch is doing, on a terminal: one line of numbers, and one for each case that is being worked on."""

import threading
import time
import unicodedata
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from radseg.pipelines.console import console as standard_error

_RECENT = 20
_MINUTE = 60.0
_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@dataclass(eq=False)
class Working:
    """A case in the table."""

    name: str
    since: float
    text: str = "waiting"


class LiveTable:
    """Redraws itself while a batch runs and is gone when it ends. Safe to share between threads.

    The rate is that of the last 20 cases to end; the time left follows from it and from how far the search for cases
    is, and is unknown ("?") until both are known.

    Args:
        shown: draw the table; else only `print` does anything.
        clock: seconds, ever growing.
        console: where to; standard error by default.
    """

    def __init__(
        self, shown: bool, clock: Callable[[], float] = time.monotonic, console: Console | None = None
    ) -> None:
        self._clock = clock
        self._console = console or standard_error()
        self._lock = threading.Lock()
        self._working: list[Working] = []
        self._counts: Counter[str] = Counter()
        self._share: float | None = None
        self._met = 0
        self._start = clock()
        self._ends: deque[float] = deque([self._start], maxlen=_RECENT + 1)
        self._live = Live(get_renderable=self._drawn, console=self._console, transient=True, redirect_stdout=False)
        self._shown = shown

    def __enter__(self) -> "LiveTable":
        if self._shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def start(self, case: str) -> Working:
        """A case is on its way; what is returned stands for it."""
        with self._lock:
            self._met += 1
            self._working.append(Working(case, self._clock()))
            return self._working[-1]

    def say(self, handle: Working, text: str) -> None:
        """What is being done with the case."""
        handle.text = text

    def end(self, handle: Working, outcome: bool | str) -> None:
        """A case has ended: True done now, False done before, else why it failed."""
        with self._lock:
            self._working.remove(handle)
            self._counts["failed" if isinstance(outcome, str) else "done" if outcome else "done before"] += 1
            self._ends.append(self._clock())

    def refused(self) -> None:
        """An input was refused."""
        with self._lock:
            self._counts["refused"] += 1

    def found(self, share: float) -> None:
        """The search for cases has this share, 0 to 1, behind it."""
        with self._lock:
            self._share = share

    def print(self, text: str) -> None:
        """A line above the table, or just a line where there is none."""
        self._console.print(_plain(text), highlight=False, soft_wrap=True, markup=False)

    def _drawn(self) -> Group:
        with self._lock:
            now = self._clock()
            lines = [self._numbers(now)]
            lines += [f"  {one.name}: {one.text} · {_clock_time(now - one.since)}" for one in self._working]
        return Group(*(Text(_plain(line), no_wrap=True, overflow="ellipsis") for line in lines))

    def _numbers(self, now: float) -> str:
        rate = (len(self._ends) - 1) / max(now - self._ends[0], 1e-9)  # a second; falls while nothing ends
        ended = self._met - len(self._working)
        left = "?"
        if self._share and ended:
            left = _clock_time(max(self._met / self._share - ended, 0.0) / rate)
        counts = [f"{self._counts[one]} {one}" for one in ("done", "done before", "failed", "refused")]
        per_minute = f"{rate * _MINUTE:.1f} a minute" if ended else "? a minute"
        return " · ".join([*counts, per_minute, f"{_clock_time(now - self._start)} elapsed", f"{left} left"])


def _clock_time(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _plain(text: str) -> str:
    """Without characters that would steer the terminal: names of files may hold any."""
    return "".join("�" if unicodedata.category(letter) in _STEERING else letter for letter in text)
