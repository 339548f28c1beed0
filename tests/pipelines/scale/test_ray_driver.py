"""Cases survive the death of the processes that work on them; the cluster is a stand-in whose deaths are planned."""

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from radseg.pipelines.case_work import CaseWorker, Work
from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.dicom_out.writer import DicomOut
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.scale import ray_driver
from radseg.pipelines.scale.ray_actor import Ended, Order, Ready
from radseg.pipelines.scale.ray_driver import RayDriver
from radseg.pipelines.scale.ray_seats import Seats

_MADE_OF = {"bundle": "spine", "bundle_version": "1", "weights_sha256": "w", "recipe_sha256": "r"}
_READY = Ready(importlib.metadata.version("radseg"), {**_MADE_OF, "deidentification key": ""})


class _RayError(Exception):
    pass


class _RayTaskError(_RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__("ray::CaseActor.run() (pid=1)\nTraceback …")
        self.cause = cause


@dataclass(eq=False)
class _Actor:
    ray: "_Ray"
    dead: bool = False
    calls: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.set_up = SimpleNamespace(remote=lambda: self._call(self.ray.start, ()))
        self.run = SimpleNamespace(remote=lambda case, earlier: self._call(self._run, (case,)))
        self.__ray_terminate__ = SimpleNamespace(remote=lambda: self._call(lambda: None, ()))

    def _run(self, case: Case) -> Ended:
        self.ray.tries[case.name] += 1
        self.ray.company[case.name].append(len([call for call in self.calls if call in self.ray.calls]) - 1)
        try:
            return self.ray.work(case, self.ray.tries[case.name])
        except _RayError:
            self.dead = True
            raise

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        call = (object(), self, function, arguments)
        self.calls.append(call)
        self.ray.calls.append(call)
        return call


class _Ray:
    """What the driver uses of Ray; calls are made when waited for, in order, and die with their actor."""

    exceptions = SimpleNamespace(RayError=_RayError, RayTaskError=_RayTaskError)

    def __init__(self) -> None:
        self.work: Callable[[Case, int], Ended] = _done
        self.start: Callable[[], Any] = lambda: _READY
        self.tries: Counter[str] = Counter()
        self.company: dict[str, list[int]] = {}
        self.calls: list[Any] = []
        self.answers: dict[Any, Any] = {}
        self.actors: list[_Actor] = []
        self.most_on_the_way = 0

    def remote(self, kind: type) -> Any:
        def made(order: Order) -> _Actor:
            self.actors.append(_Actor(self))
            return self.actors[-1]

        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=made))

    def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        assert set(calls) <= {*self.calls, *self.answers}
        self.most_on_the_way = max(self.most_on_the_way, len([call for call in calls if call[2] == call[1]._run]))
        ready = calls[:num_returns]
        for call in ready:
            if call in self.calls:
                self.answers[call] = self._answer(*call[1:])
                self.calls.remove(call)
        return ready, calls[num_returns:]

    def _answer(self, actor: _Actor, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if actor.dead:
            return _RayError("The actor died unexpectedly before finishing this task.")
        try:
            return function(*arguments)
        except _RayError as error:
            return error

    def get(self, call: Any) -> Any:
        answer = self.answers[call]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: _Actor) -> None:
        actor.dead = True

    def is_initialized(self) -> bool:
        return True


def _done(case: Case, attempt: int) -> Ended:
    row = {"case": case.name, "warnings": [], "engine": {"notes": []}}
    return Ended(row, True, [{"status": "done", **row}])


@dataclass
class _Batch:
    """A batch on the stand-in: its manifest, and the works as they came back."""

    ray: _Ray
    out: Path
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    taken: int = 0

    def worker(self) -> CaseWorker:
        nothing: Any = None
        destination, dicom_out = Destination(self.out), DicomOut()
        return CaseWorker(nothing, nothing, destination, [], _MADE_OF, (0.0, 1.0), False, dicom_out, self.lines.append)

    def works(self, names: str) -> Iterator[Work]:
        for name in names:
            self.taken += 1
            self.ray.company[name] = []
            path = self.out / f"{name}.nii.gz"
            yield Work(Case(name, InputKind.NIFTI, (path,), path))

    def run(self, names: str, workers: int = 2, shared: bool = False) -> dict[str, Work]:
        order = Order("spine", {}, False, self.out, self.out, 1)
        driver = RayDriver(self.ray, Seats(workers, 1, 0), order, shared)
        return {work.case.name: work for work in driver(self.worker(), self.works(names))}

    def told(self) -> list[tuple[str, str]]:
        return sorted((line["case"], line["status"]) for line in self.lines)


@pytest.fixture
def batch(tmp_path: Path) -> _Batch:
    return _Batch(_Ray(), tmp_path)


def test_every_case_comes_back_with_one_line(batch: _Batch) -> None:
    works = batch.run("abcdefg")
    assert all(work.outcome is True for work in works.values())
    assert batch.told() == [(name, "done") for name in "abcdefg"]
    assert list(batch.out.iterdir()) == []


def test_no_more_cases_are_looked_for_than_the_workers_take(batch: _Batch) -> None:
    order = Order("spine", {}, False, batch.out, batch.out, 1)
    ending = RayDriver(batch.ray, Seats(2, 1, 0), order, shared=False)(batch.worker(), batch.works("abcdefghijklmn"))
    next(ending)
    assert batch.taken <= 5
    assert len(list(ending)) == 13
    assert batch.ray.most_on_the_way == 4


def test_a_case_whose_process_dies_is_done_by_another_and_has_one_line(batch: _Batch) -> None:
    def work(case: Case, attempt: int) -> Ended:
        if case.name in "bc" and attempt == 1:
            raise _RayError("killed")
        return _done(case, attempt)

    batch.ray.work = work
    works = batch.run("abcdef")
    assert all(work.outcome is True for work in works.values())
    assert batch.told() == [(name, "done") for name in "abcdef"]
    assert len(batch.ray.actors) > 2


def test_a_case_that_kills_its_process_every_time_fails_alone(batch: _Batch) -> None:
    def work(case: Case, attempt: int) -> Ended:
        if case.name == "b":
            raise _RayError("killed")
        return _done(case, attempt)

    batch.ray.work = work
    works = batch.run("abcdef", workers=1)
    assert "its process died 3 times" in str(works.pop("b").outcome)
    assert all(work.outcome is True for work in works.values())
    assert batch.told() == [(name, "failed" if name == "b" else "done") for name in "abcdef"]
    assert str(batch.out) not in str([line["reason"] for line in batch.lines if line["status"] == "failed"])
    assert batch.ray.tries["b"] == 3
    assert batch.ray.company["b"][1:] == [0, 0]  # the second and third time nobody was with it


def test_a_result_that_was_in_place_when_its_process_died_is_done_now_and_once(batch: _Batch) -> None:
    def work(case: Case, attempt: int) -> Ended:
        if case.name == "a" and attempt == 1:
            raise _RayError("killed after the rename")
        if case.name == "a":
            found = {"status": "done", "case": "a", "labels": {}, "warnings": ["line written after an interruption"]}
            return Ended({"case": "a"}, False, [found])
        return _done(case, attempt)

    batch.ray.work = work
    works = batch.run("ab")
    assert works["a"].outcome is True
    assert works["a"].row["warnings"] == ["line written after an interruption"]
    assert works["a"].row["engine"]["notes"] == []
    assert batch.told() == [("a", "done"), ("b", "done")]


def test_a_case_done_by_an_earlier_run_stays_done_before(batch: _Batch) -> None:
    batch.ray.work = lambda case, attempt: Ended({"case": case.name}, False, [])
    assert batch.run("a")["a"].outcome is False
    assert batch.lines == []


def test_what_nobody_foresaw_in_a_worker_fails_its_case(batch: _Batch) -> None:
    def work(case: Case, attempt: int) -> Ended:
        raise _RayTaskError(ValueError("what now"))

    batch.ray.work = work
    assert batch.run("a")["a"].outcome == "ValueError: what now"
    assert batch.told() == [("a", "failed")]


def test_a_manifest_that_can_t_be_written_fails_the_case(batch: _Batch) -> None:
    worker = batch.worker()

    def full(line: Mapping[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    worker.record = full
    order = Order("spine", {}, False, batch.out, batch.out, 1)
    (work,) = RayDriver(batch.ray, Seats(1, 1, 0), order, shared=False)(worker, batch.works("a"))
    assert "No space left" in str(work.outcome)


@pytest.mark.parametrize(
    ("ready", "said"),
    [
        ("node 10.0.0.2: /out: is another folder there; choose an output that all nodes share", "is another folder"),
        (Ready("0.0.1", _READY.made_of), "radseg 0.0.1 is on a node of the Ray cluster, and .* install the same"),
        (Ready(_READY.version, {**_READY.made_of, "weights_sha256": "x"}), "has another weights sha256; use the same"),
        (Ready(_READY.version, {**_READY.made_of, "deidentification key": "x"}), "has another deidentification key"),
    ],
)
def test_a_node_that_would_give_other_files_ends_the_batch_before_it_begins(
    ready: Ready | str, said: str, batch: _Batch
) -> None:
    batch.ray.start = lambda: ready
    with pytest.raises(ConfigError, match=said):
        batch.run("ab", shared=True)
    assert batch.taken == 0
    assert all(actor.dead for actor in batch.ray.actors)
    assert list(batch.out.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (_RayError("ModuleNotFoundError:\n No module named 'radseg.pipelines'"), "radseg isn't installed on a node"),
        (_RayTaskError(ImportError("no libGL")), "ImportError: no libGL"),
    ],
)
def test_a_worker_that_can_t_start_is_tried_three_times_and_then_told(
    error: Exception, said: str, batch: _Batch
) -> None:
    def start() -> Ready:
        raise error

    batch.ray.start = start
    with pytest.raises(ConfigError, match=said):
        batch.run("a", workers=1)
    assert len(batch.ray.actors) == 3


def test_the_batch_goes_on_with_fewer_workers_when_one_can_t_be_replaced(batch: _Batch) -> None:
    def work(case: Case, attempt: int) -> Ended:
        if case.name == "a" and attempt == 1:
            batch.ray.start = lambda: "node 10.0.0.9: /out: is another folder there"
            raise _RayError("node lost")
        return _done(case, attempt)

    batch.ray.work = work
    assert all(work.outcome is True for work in batch.run("abcdef").values())
    assert batch.told() == [(name, "done") for name in "abcdef"]


def test_a_worker_that_takes_long_is_told_of_once(
    batch: _Batch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_driver, "_CASE_IS_SLOW_S", 0.0)
    batch.run("abc", workers=1)
    assert [record.getMessage() for record in caplog.records] == [
        "a worker is still at the same case after 0 min; it may hang: see `ray status`"
    ] * 3


def test_a_worker_that_does_not_start_is_told_of_while_it_is_waited_for(
    batch: _Batch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_driver, "_START_IS_SLOW_S", 0.0)
    batch.run("a", workers=1)
    assert "a worker has not started after 0 min" in caplog.text


def test_left_early_it_ends_its_workers_and_clears_up_what_they_had_half_done(batch: _Batch) -> None:
    order = Order("spine", {}, False, batch.out, batch.out, 1)
    driver = RayDriver(batch.ray, Seats(1, 1, 0), order, shared=True)
    ending = driver(batch.worker(), batch.works("abcdef"))
    next(ending)
    (batch.out / ".b.part" / "0123").mkdir(parents=True)
    driver.close(batch.worker())
    assert list(batch.out.iterdir()) == []
    assert all(actor.dead for actor in batch.ray.actors)
