"""Requests that wait for each other: as many as may at a time, the rest in order, and not without end."""

from collections.abc import Mapping

import anyio
from starlette.types import Receive

from radseg.pipelines.label_server.guard.bodies import GoneError
from radseg.pipelines.label_server.refused import Refused


class Queues:
    """Named queues, each with so many at a time.

    Args:
        at_once: name of a queue and how many of it may be at work.
        longest: how many may wait in each.
    """

    def __init__(self, at_once: Mapping[str, int], longest: int = 400) -> None:
        self._limits = {name: anyio.Semaphore(number) for name, number in at_once.items()}
        self._waiting = dict.fromkeys(at_once, 0)
        self._longest = longest

    async def enter(self, name: str, receive: Receive) -> "Place":
        """Waits for a turn, unless the client goes away; the place must be left.

        Args:
            name: of the queue.
            receive: gives nothing more but that the client hung up.

        Raises:
            Refused: 503, if too many wait.
            GoneError: the client hung up while it waited.
        """
        limit = self._limits[name]
        if self._waiting[name] >= self._longest:
            raise Refused(503, f"{self._longest} requests wait for this already; ask again in a minute")
        self._waiting[name] += 1
        gone = got = False

        async def watch(scope: anyio.CancelScope) -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            scope.cancel()

        try:
            try:
                limit.acquire_nowait()
                got = True
            except anyio.WouldBlock:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch, tasks.cancel_scope)
                    await limit.acquire()
                    got = True
                    tasks.cancel_scope.cancel()
        finally:
            self._waiting[name] -= 1
            if gone and got:
                limit.release()
        if gone:
            raise GoneError
        return Place(limit)


class Place:
    """A turn in a queue; left once, whoever leaves it."""

    def __init__(self, limit: anyio.Semaphore) -> None:
        self._limit: anyio.Semaphore | None = limit

    def leave(self) -> None:
        """Lets the next one in."""
        if self._limit is not None:
            self._limit.release()
            self._limit = None
