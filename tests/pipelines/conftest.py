"""Hands the servers of ../orthanc.py and ../fake_pacs.py to the tests of the pipelines."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_ORTHANC = _load("orthanc")


@pytest.fixture(scope="session")
def new_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Starts an Orthanc with empty storage; see `Orthanc` for its options. Skips where it isn't installed."""
    servers: list[Any] = []

    def new(**options: Any) -> Any:
        servers.append(_ORTHANC.Orthanc(tmp_path_factory.mktemp("orthanc"), **options))
        return servers[-1].start()

    yield new
    for server in servers:
        server.kill()


@pytest.fixture
def fake_pacs() -> Iterator[Any]:
    """An empty DICOMweb server that can be made to fail."""
    with _load("fake_pacs").FakePacs() as server:
        yield server


@pytest.fixture
def new_fake_pacs() -> Any:
    """The class of `fake_pacs`, for one with TLS."""
    return _load("fake_pacs").FakePacs


class SetClock:
    """A clock that only a pause moves, so that no test waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    """A clock that only a pause moves."""
    return SetClock()
