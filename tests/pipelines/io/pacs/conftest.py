"""A cache and a patience of each test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from set_clock import SetClock

from radseg.pipelines.io.pacs.dicomweb_session import Patience
from radseg.pipelines.io.store.settings import use_storage


@pytest.fixture(autouse=True)
def _cache_of_the_test(tmp_path: Path) -> Iterator[None]:
    use_storage({"cache_dir": str(tmp_path / "cache")})
    yield
    use_storage()


@pytest.fixture
def patience(clock: SetClock) -> Patience:
    """Tries again without waiting."""
    return Patience(sleep=clock.sleep, clock=clock)
