"""Who starts a background task is answered once it has begun, and not much later if it can't begin."""

import sys
import time
from collections.abc import Iterator
from subprocess import PIPE, Popen
from typing import Any

import pytest

pytest.importorskip("monailabel")

from monailabel.utils.async_tasks import utils

from radseg.pipelines.label_server import serve
from radseg.pipelines.label_server.tasks.begun import wait_until_begun


@pytest.fixture
def kind() -> Iterator[str]:
    yield "test"
    executor = utils.background_executors.pop("test", None)
    if executor is not None:
        while any(task["status"] in ("SUBMITTED", "RUNNING") for task in utils.tasks("test")):
            for process in list(utils.processes("test").values()):
                process.kill()
            time.sleep(0.01)
        executor.shutdown()
    for one in (utils.background_tasks, utils.background_processes):
        one.pop("test", None)


def start(kind: str, monkeypatch: pytest.MonkeyPatch, slowly_s: float) -> dict[str, Any]:
    """A background task whose process is slow to come."""

    def slow(*args: Any, **options: Any) -> Popen[str]:
        time.sleep(slowly_s)
        return Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=PIPE, text=True)

    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(utils.subprocess, "Popen", slow)
    task: dict[str, Any] = utils.run_background_task({}, kind)
    return task


def test_it_is_waited_for_until_it_runs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start(kind, monkeypatch, 0.5)
    assert not utils.processes(kind)
    wait_until_begun(kind)
    (process,) = utils.processes(kind).values()
    assert process.poll() is None


def test_what_never_begins_is_not_waited_for_without_end(kind: str) -> None:
    utils.background_tasks[kind] = [{"id": "1", "status": "SUBMITTED"}]
    began = time.monotonic()
    wait_until_begun(kind, within_s=0.2)
    assert 0.2 <= time.monotonic() - began < 2


def test_what_has_ended_is_not_waited_for(kind: str) -> None:
    utils.background_tasks[kind] = [{"id": "1", "status": "DONE"}]
    began = time.monotonic()
    wait_until_begun(kind)
    wait_until_begun("nothing of that kind")
    assert time.monotonic() - began < 1


def test_an_answer_to_who_starts_one_comes_after_its_start(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> str:
        return str(start(kind, monkeypatch, 0.5)["id"])

    task = serve._in_thread(run, kind)()
    assert utils.processes(kind)[task].poll() is None
    assert serve._in_thread(run)() not in utils.processes(kind)  # nobody asked this one to wait
