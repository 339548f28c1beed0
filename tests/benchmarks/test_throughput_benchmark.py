"""The benchmark of batches counts what it says that it counts."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "throughput"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Loads a file of benchmarks/throughput, which has namesakes elsewhere."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])

    def loaded(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"throughput_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded


def test_the_cases_of_a_batch_are_all_different_and_always_the_same(part, tmp_path):
    cases = part("cases")
    folders = [cases.make_cases(tmp_path / run, 8, "tiny") for run in "ab"]
    first, second = ([nib.load(file).get_fdata() for file in sorted(folder.iterdir())] for folder in folders)
    assert len(first) == 8
    assert all(np.array_equal(one, same) for one, same in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[6])  # of one phantom
    assert first[0].shape == first[6].shape


def test_the_start_is_told_apart_from_the_rate(part):
    rows = [{"seconds": {"network": 0.5}, "peak_memory_mb": size} for size in (900, 800, 850)]
    found = part("batch").figures(14.0, [12.0, 10.0, 10.0, 13.0], [*rows, rows[0]], 2)
    assert found["first_case_seconds"] == 10.0
    assert found["cases_per_minute"] == 17.1
    assert found["cases_per_minute_once_started"] == 40.0
    assert found["overhead_seconds_per_case"] == 2.5  # each of two workers takes 3 s for a case
    assert found["largest_process_mb"] == 900


def test_the_tables_replace_only_what_lies_between_their_markers(part, tmp_path):
    main = part("__main__")
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{main.START}\nold\n{main.END}\nbelow\n")
    figures = dict.fromkeys(main.COLUMNS.values(), 1.5)
    result = {
        "what": "batches",
        "date": "2026-01-01",
        "commit": "abc",
        "machine": {"cpu": "some", "memory_gb": 24.0},
        "sizes": {"tiny": {"1 worker": figures}},
    }
    main.write_tables(result, readme)
    written = readme.read_text()
    assert written.startswith("above\n")
    assert written.endswith("\nbelow\n")
    assert "old" not in written
    assert "| 1 worker | 1.5 |" in written
