"""PACS for tests: a real Orthanc, and one that can be made to fail."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_pacs import FakePacs
from orthanc import Orthanc
from set_clock import SetClock


@pytest.fixture(scope="session")
def new_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Starts an Orthanc with empty storage; see `Orthanc` for its options. Skips where it isn't installed."""
    servers: list[Any] = []

    def new(**options: Any) -> Any:
        servers.append(Orthanc(tmp_path_factory.mktemp("orthanc"), **options))
        return servers[-1].start()

    yield new
    for server in servers:
        server.kill()


@pytest.fixture
def fake_pacs() -> Iterator[Any]:
    """An empty DICOMweb server that can be made to fail."""
    with FakePacs() as server:
        yield server


@pytest.fixture
def new_fake_pacs() -> Any:
    """The class of `fake_pacs`, for one with TLS."""
    return FakePacs


@pytest.fixture
def clock() -> SetClock:
    """A clock that only a pause moves."""
    return SetClock()
