"""Being told to stop: the signal is noted for whoever works to see; a second Ctrl-C ends the process at once."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

_logger = logging.getLogger("radseg.training")


class StopRequest:
    """Notes SIGTERM and Ctrl-C while it is entered, so that work in hand can be put into order.

    A second Ctrl-C ends the process at once. A second SIGTERM doesn't: systemd and Slurm send it to all processes, and
    torchrun and an experiment hand theirs on to the training, which has it twice then.

    A signal that is ignored, as Ctrl-C is in the background of a shell, stays ignored. Outside the main thread, where
    signals can't be handled, nothing is noted.

    Attributes:
        number: of the first signal that came, 0 as long as none did.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def leave(self, number: int, how_to_go_on: str) -> NoReturn:
        """Ends as the signal would have without this object; where nobody handles it, with exit code 128 + `number`.

        Args:
            number: of the signal, which may have come to another process of a group.
            how_to_go_on: said where no handler is that says it.
        """
        handler = self._before.get(number, signal.SIG_DFL)
        self._put_back()
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            _logger.warning("stopped; %s", how_to_go_on)
        if callable(handler):
            handler(number, None)
        raise SystemExit(128 + number)
