"""The writer of DICOM series and the faulty store, for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dicom_factory
import pytest
from faulty_store import FaultyFileSystem


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """Writes small DICOM series."""
    return dicom_factory


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty store `faulty://` that can be made to fail; the read cache is the test's own, no pause is long."""
    from radseg.pipelines.io.store import storage
    from radseg.pipelines.io.store.settings import use_storage

    monkeypatch.setattr(storage, "BACKOFF_S", (0.001, 0.001, 0.001))
    use_storage({"cache_dir": str(tmp_path / "cache")})
    FaultyFileSystem.forget()
    yield FaultyFileSystem
    FaultyFileSystem.forget()
    use_storage()
