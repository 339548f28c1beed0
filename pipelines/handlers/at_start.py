"""Makes a handler that opens files when its engine starts, so that none are left behind if nothing starts."""

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from radseg.pipelines.training.distributed import rank


class AtStart:
    """Calls `make` for a handler at the first start of the engine and attaches it then, in the first process only.

    Args:
        make: gives the handler; in a config, a component with `"_mode_": "callable"`.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self._made = False

    def attach(self, engine: Engine) -> None:
        """Waits for `engine` to start."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Makes and attaches the handler, the first time."""
        if not self._made and rank() == 0:
            self._made = True
            self.make().attach(engine)
