"""Results say which commit they come from, whichever way the checkout is reached."""

from pathlib import Path

import pytest

import radseg.pipelines
from radseg.pipelines.experiments.machine import commit

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_a_checkout_that_is_reached_through_links_has_the_same_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = commit()
    assert said is not None
    (tmp_path / "linked").symlink_to(ROOT / "pipelines")
    monkeypatch.setattr(radseg.pipelines, "__file__", str(tmp_path / "linked" / "__init__.py"))
    assert commit() == said


def test_an_installed_package_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radseg.pipelines, "__file__", str(tmp_path / "radseg" / "pipelines" / "__init__.py"))
    assert commit() is None
