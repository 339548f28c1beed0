"""Where the committed sample data lie."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def sample_data() -> Path:
    return Path(__file__).resolve().parents[2] / "sample_data"
