"""Hands the DICOM writer of dicom_factory.py and the faulty store of faulty_store.py to the tests of this folder."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_FACTORY = _load("dicom_factory")
_STORE = _load("faulty_store").FaultyFileSystem


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """Writes small DICOM series."""
    return _FACTORY


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty store `faulty://` that can be made to fail; the read cache is the test's own, no pause is long."""
    from radseg.pipelines.io import storage
    from radseg.pipelines.io.storage_settings import use_storage

    monkeypatch.setattr(storage, "BACKOFF_S", (0.001, 0.001, 0.001))
    use_storage({"cache_dir": str(tmp_path / "cache")})
    _STORE.forget()
    yield _STORE
    _STORE.forget()
    use_storage()
