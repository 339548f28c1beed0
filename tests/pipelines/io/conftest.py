"""Hands the DICOM writer of dicom_factory.py to the tests of this folder."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _load_factory() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dicom_factory", Path(__file__).with_name("dicom_factory.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_FACTORY = _load_factory()


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """Writes small DICOM series."""
    return _FACTORY
