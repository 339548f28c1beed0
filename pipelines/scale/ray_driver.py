"""Batches on a Ray cluster: a process on each device holds the bundle, cases go to whichever has room."""

import importlib.metadata
import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from radseg.pipelines.case_folder import recover
from radseg.pipelines.case_work import CaseWorker, Work
from radseg.pipelines.errors import ConfigError, RadsegError, one_line
from radseg.pipelines.io.store.local_copy import fetch_trouble, with_urls
from radseg.pipelines.scale.ray_actor import CaseActor, Ended, Order, Ready, made_of
from radseg.pipelines.scale.ray_seats import Seats

_logger = logging.getLogger("radseg.segment")

_AT_ONCE = 2  # cases of a worker: the next is read while the network runs
_ATTEMPTS = 3  # at a case, and at starting a worker
_STARTS_WITHIN_S = 600.0
_ENDS_WITHIN_S = 15.0
# after which it is said that a worker hasn't started, or is still at a case: it may hang, or just be slow
_START_IS_SLOW_S = 60.0
_CASE_IS_SLOW_S = 1800.0


@dataclass(eq=False)
class _Job:
    """What a worker has been asked to do.

    Attributes:
        seat: the worker.
        work: its case; None of its start.
        since: when, by the monotonic clock.
        told: whether the user knows that it takes long.
    """

    seat: "_Seat"
    work: Work | None
    since: float
    told: bool = False


@dataclass(eq=False)
class _Seat:
    """A worker process, from its start to its end.

    Attributes:
        actor: Ray's handle.
        starts: how many processes in its place have died before they were ready, itself included.
        ready: whether it takes cases.
        works: those that it has.
        alone: whether the case that it has is to have no company.
        first: whether it was there from the batch's beginning, and so takes no other's place.
    """

    actor: Any
    starts: int = 1
    first: bool = False
    ready: bool = False
    works: list[Work] = field(default_factory=list)
    alone: bool = False


class RayDriver:
    """Takes cases through their steps on a cluster; a `Driver` of `Segmenter.run`.

    A case whose process or node dies is tried again elsewhere, without company, so that it can't take others with it;
    after three deaths it has failed. The lines of the manifest are written here, by one process, when a case's end is
    known, so a case has one line however often it was tried.

    Args:
        ray: the module, connected.
        seats: how many workers, and what each may use.
        order: what they load.
        shared: the nodes are other machines, which have to see the folders.
    """

    def __init__(self, ray: Any, seats: Seats, order: Order, shared: bool) -> None:
        self.ray = ray
        self.seats = seats
        self.order = order
        self.shared = shared
        self._remote = ray.remote(CaseActor).options(
            num_cpus=seats.cpus, num_gpus=seats.gpus, max_concurrency=_AT_ONCE, scheduling_strategy="SPREAD"
        )
        self._seats: list[_Seat] = []
        self._jobs: dict[Any, _Job] = {}
        self._deaths: Counter[str] = Counter()
        self._trouble = "no node has room"

    def __call__(self, worker: CaseWorker, works: Iterator[Work]) -> Iterator[Work]:
        """Gives each case back when it has ended.

        Raises:
            ConfigError: no worker could be started, or one is of another radseg, weights or folders.
        """
        if self.shared:
            proof = self.order.folder / f".radseg-{uuid.uuid4().hex}"
            proof.touch()
            self.order = replace(self.order, proof=proof)
        try:
            yield from self._drive(worker, works)
        finally:
            self.close(worker)

    def _drive(self, worker: CaseWorker, works: Iterator[Work]) -> Iterator[Work]:
        for _ in range(self.seats.count):
            self._start(first=True)
        again: deque[Work] = deque()
        more, since = True, time.monotonic()
        while more or again or any(seat.works for seat in self._seats):
            while seat := self._with_room(alone=bool(again)):
                work = again.popleft() if again else next(works, None)
                if work is None:
                    more = False
                    break
                trouble = fetch_trouble(work.case.files[0])
                if trouble is not None:
                    worker.fail(work, trouble)
                    yield work
                    continue
                self._give(seat, work)
            if any(seat.ready for seat in self._seats):
                since = time.monotonic()
            elif time.monotonic() - since > _STARTS_WITHIN_S:
                raise ConfigError(f"no worker could be started on the Ray cluster ({self._trouble}); see `ray status`")
            self._say_what_is_slow()
            if not self._jobs:
                continue
            for call in self.ray.wait(list(self._jobs), num_returns=1, timeout=10.0)[0]:
                job = self._jobs.pop(call)
                if job.work is None:
                    self._started(job.seat, call, worker)
                    continue
                job.seat.works.remove(job.work)
                job.seat.alone = False
                if self._finish(job.seat, call, job.work, worker):
                    yield job.work
                else:
                    again.append(job.work)

    def _ask(self, call: Any, seat: _Seat, work: Work | None = None) -> None:
        self._jobs[call] = _Job(seat, work, time.monotonic())

    def _say_what_is_slow(self) -> None:
        now = time.monotonic()
        for job in self._jobs.values():
            limit_s = _START_IS_SLOW_S if job.work is None else _CASE_IS_SLOW_S
            if job.told or now - job.since < limit_s:
                continue
            job.told = True
            what = "a worker has not started" if job.work is None else "a worker is still at the same case"
            _logger.warning("%s after %d min; it may hang: see `ray status`", what, limit_s // 60)

    def _start(self, starts: int = 1, first: bool = False) -> None:
        seat = _Seat(self._remote.remote(self.order), starts, first)
        self._seats.append(seat)
        self._ask(seat.actor.set_up.remote(), seat)

    def _with_room(self, alone: bool) -> _Seat | None:
        """The worker to give the next case to: the idlest one, or only one without any case."""
        room = [seat for seat in self._seats if seat.ready and not seat.alone]
        seat = min(room, key=lambda one: len(one.works), default=None)
        return seat if seat is not None and len(seat.works) < (1 if alone else _AT_ONCE) else None

    def _give(self, seat: _Seat, work: Work) -> None:
        seat.alone = self._deaths[work.case.name] > 0
        seat.works.append(work)
        work.say("on a worker")
        self._ask(seat.actor.run.remote(work.case, work.earlier), seat, work)

    def _started(self, seat: _Seat, call: Any, worker: CaseWorker) -> None:
        """Takes in how a worker's start ended: ready, of no use here, or dead and started again."""
        try:
            found = self.ray.get(call)
        except self.ray.exceptions.RayError as error:
            self._trouble = _said(self.ray, error)
            self._end(seat)
            if seat.starts < _ATTEMPTS:
                self._start(seat.starts + 1, seat.first)
        else:
            trouble = found if isinstance(found, str) else _difference(found, worker)
            if trouble is None:
                seat.ready = True
                return
            self._trouble = trouble
            self._end(seat)
            if seat.first:
                raise ConfigError(trouble)
            _logger.warning("a worker couldn't be replaced: %s", trouble)
        if not self._seats:
            raise ConfigError(f"no worker could be started on the Ray cluster: {self._trouble}")

    def _finish(self, seat: _Seat, call: Any, work: Work, worker: CaseWorker) -> bool:
        """Takes in how a case ended; not at all, when its process died and it is to be tried again."""
        name = work.case.name
        try:
            ended: Ended = self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            worker.fail(work, with_urls(one_line(error.cause)))
            return True
        except self.ray.exceptions.RayError as error:
            _logger.debug("a worker died", exc_info=error)
            self._deaths[name] += 1
            if seat in self._seats:
                self._end(seat)
                self._start()
            recover(worker.destination.local, name)
            if self._deaths[name] < _ATTEMPTS:
                work.say("its worker died; once more")
                return False
            reason = f"its process died {_ATTEMPTS} times; it may need more memory than a worker has, or crash a reader"
            worker.fail(work, f"{with_urls(work.case.source)}: {reason}")
            return True
        work.row, work.outcome = ended.row, ended.outcome
        if isinstance(work.outcome, str):
            work.outcome = with_urls(work.outcome)
        done = next((line for line in ended.lines if line["status"] == "done"), None)
        if work.outcome is False and done is not None and self._deaths[name]:
            # an attempt before finished the case and died before it could say so
            work.outcome, work.row = True, {"engine": {"notes": []}, **done}
        try:
            for line in ended.lines:
                worker.record(line)
        except (OSError, RadsegError) as error:
            worker.fail(work, with_urls(one_line(error)))
        return True

    def _end(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        self.ray.kill(seat.actor)

    def close(self, worker: CaseWorker) -> None:
        """Ends all workers; what those still at a case have half done is cleared up."""
        left = [job.work.case.name for job in self._jobs.values() if job.work is not None]
        waiting = list(self._jobs)
        for seat in self._seats:
            if seat.ready and not seat.works:
                waiting.append(seat.actor.__ray_terminate__.remote())  # which clears up its own temporary files
            else:
                self.ray.kill(seat.actor)
        if waiting and self.ray.is_initialized():
            self.ray.wait(waiting, num_returns=len(waiting), timeout=_ENDS_WITHIN_S)
        self._seats, self._jobs = [], {}
        for name in left:
            recover(worker.destination.local, name)
        if self.order.proof is not None:
            self.order.proof.unlink(missing_ok=True)


def _difference(found: Ready, worker: CaseWorker) -> str | None:
    """In what a worker differs from this process, if it does."""
    here = importlib.metadata.version("radseg")
    if found.version != here:
        return f"radseg {found.version} is on a node of the Ray cluster, and {here} here; install the same on all"
    for key, value in made_of(worker).items():
        if found.made_of[key] != value:
            return f"a node of the Ray cluster has another {key.replace('_', ' ')}; use the same files on all nodes"
    return None


def _said(ray: Any, error: BaseException) -> str:
    """Ray's words, which go over many lines, in one."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return one_line(error.cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("No module named 'radseg" in line for line in lines):
        return f"radseg isn't installed on a node; install radseg {importlib.metadata.version('radseg')} there"
    return lines[0] if lines else type(error).__name__
