"""Takes items through stations side by side: the next one is read while this one runs and the last one is written."""

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Station(Generic[Item]):
    """A step that every item takes.

    Attributes:
        work: what is done with an item, in place.
        hands: threads, that is items worked on at a time.
        prepare: called once in each of the threads.
    """

    work: Callable[[Item], None]
    hands: int = 1
    prepare: Callable[[], None] | None = None


def convey(items: Iterable[Item], stations: Sequence[Station[Item]]) -> Iterator[Item]:
    """Yields each item when it has passed all stations, in the order in which they come out.

    No more items are on the way than there are hands: a slow station holds up the taking of new items, so memory stays
    bounded. Left before the end (an exception, Ctrl-C), items in hand finish their station, those behind the last but
    one are finished altogether, and no others begin.

    Raises:
        Whatever `work` raises, when that item's turn comes to be yielded.
    """
    pools = [ThreadPoolExecutor(station.hands, initializer=station.prepare or _nothing) for station in stations]
    stopping = Event()
    arrived: queue.SimpleQueue[tuple[Item, BaseException | None]] = queue.SimpleQueue()

    def pass_through(item: Item, position: int) -> None:
        try:
            stations[position].work(item)
            if position + 1 < len(stations):
                if stopping.is_set() and position + 2 < len(stations):
                    return
                pools[position + 1].submit(pass_through, item, position + 1)
                return
        except BaseException as error:  # handed to whoever waits for the item
            arrived.put((item, error))
            return
        arrived.put((item, None))

    def next_arrival() -> Item:
        item, error = arrived.get()
        if error is not None:
            raise error
        return item

    on_the_way, most = 0, sum(station.hands for station in stations)
    try:
        for item in items:
            while on_the_way == most or not arrived.empty():
                yield next_arrival()
                on_the_way -= 1
            pools[0].submit(pass_through, item, 0)
            on_the_way += 1
        for _ in range(on_the_way):
            yield next_arrival()
    finally:
        stopping.set()
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=pool is not pools[-1])


def _nothing() -> None:
    pass
