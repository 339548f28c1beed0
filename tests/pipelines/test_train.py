"""An earlier training is never lost, and a folder that can't be written is said at once."""

from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import InputError, RadsegError, WeightsError
from radseg.pipelines.train import prepare_output, train


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "spine"
    folder.mkdir(parents=True)
    (folder / "model.pt").write_text("precious")
    return folder


def test_an_earlier_training_is_moved_aside(earlier: Path) -> None:
    prepare_output(earlier)
    (earlier / "model.pt").write_text("second")
    prepare_output(earlier)
    assert (earlier.parent / "spine.1" / "model.pt").read_text() == "precious"
    assert (earlier.parent / "spine.2" / "model.pt").read_text() == "second"
    assert list(earlier.iterdir()) == []


def test_resuming_leaves_it_and_overwriting_removes_it_alone(earlier: Path) -> None:
    (earlier / "masks").mkdir()
    with pytest.raises(WeightsError, match="nothing to resume"):
        prepare_output(earlier, resume=True)
    (earlier / "last.pt").touch()
    prepare_output(earlier, resume=True)
    assert (earlier / "model.pt").read_text() == "precious"
    prepare_output(earlier, overwrite=True)
    assert [path.name for path in earlier.iterdir()] == ["masks"]
    assert [folder.name for folder in earlier.parent.iterdir()] == ["spine"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"datalist": "missing.json"},
        {"network_def#features": [1, 2]},
        {"optimizer#lr": -1.0},
        {"max_epochs": "abc"},
        {"max_epochs": 0},
        {"amp": "maybe"},
    ],
    ids=str,
)
def test_a_training_that_cant_start_touches_nothing(earlier: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(RadsegError):
        train("spine", output_dir=earlier, overwrite=True, progress=False, **{"spacing_mm": [6.0] * 3, **wrong})
    assert [(path.name, path.read_text()) for path in earlier.iterdir()] == [("model.pt", "precious")]
    assert [folder.name for folder in earlier.parent.iterdir()] == ["spine"]


def test_a_folder_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"can't be written \(.*\); choose another --output_dir"):
        prepare_output(tmp_path / "file" / "runs")
