"""Files and folders at URLs become local ones with the same names, which users know by their URLs."""

import fcntl
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.store import local_copy as module
from radseg.pipelines.io.store.local_copy import (
    called,
    fetch_into,
    local_copies,
    local_copy,
    scratch,
    urls_in_errors,
    with_urls,
)
from radseg.pipelines.io.store.settings import use_storage
from radseg.pipelines.io.store.storage import RemoteFile, list_files, upload


@pytest.fixture
def box(faulty: Any, tmp_path: Path) -> str:
    """A container with three files."""
    for name in ("model.pt", "model.pt.sha256", "series/1.dcm"):
        (tmp_path / "original").write_text(name)
        upload(tmp_path / "original", f"faulty://box/{name}")
    return "faulty://box"


def test_a_path_is_left_alone(tmp_path: Path) -> None:
    assert local_copy(tmp_path / "x") == tmp_path / "x"
    assert local_copies([tmp_path / "x", "y"]) == [tmp_path / "x", Path("y")]


def test_a_file_keeps_its_name_and_gets_its_neighbours(box: str) -> None:
    file = local_copy(f"{box}/model.pt", beside=(".sha256", ".none"))
    assert file.name == "model.pt"
    assert file.read_text() == "model.pt"
    assert sorted(path.name for path in file.parent.iterdir()) == ["model.pt", "model.pt.sha256"]


def test_a_folder_is_copied_whole_and_only_once(faulty: Any, box: str) -> None:
    folder = local_copy(box)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == ["model.pt", "model.pt.sha256", "series/1.dcm"]
    assert local_copy(box) == folder
    assert len(faulty.downloads) == 3


def test_several_are_fetched_in_order(box: str) -> None:
    texts = [path.read_text() for path in local_copies([f"{box}/series/1.dcm", f"{box}/model.pt"])]
    assert texts == ["series/1.dcm", "model.pt"]


def test_users_read_urls_where_code_reads_paths(box: str) -> None:
    file = local_copy(f"{box}/series") / "1.dcm"
    assert with_urls(f"{file}: damaged") == "faulty://box/series/1.dcm: damaged"
    assert called(file) == "faulty://box/series/1.dcm"
    with pytest.raises(InputError, match=r"^faulty://box/series/1.dcm: damaged$"), urls_in_errors():
        raise InputError(f"{file}: damaged")


def test_names_cant_lead_out_of_the_cache(faulty: Any, tmp_path: Path) -> None:
    evil = RemoteFile("faulty://box/x", "../../evil", 1, "1", None, "")
    with pytest.raises(InputError, match="leads out of its folder"):
        fetch_into(scratch() / "view", [evil])
    assert list(tmp_path.rglob("evil")) == []


def test_a_lost_connection_leaves_no_partial_file(faulty: Any, box: str, tmp_path: Path) -> None:
    faulty.faults = 999
    with pytest.raises(InputError, match="connection was lost 4 times"):
        local_copy(box)
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".lock"]


def test_what_a_killed_run_left_is_cleared_and_what_another_run_uses_is_not(faulty: Any, tmp_path: Path) -> None:
    runs = tmp_path / "cache" / "runs"
    for name in ("killed", "running"):
        (runs / name).mkdir(parents=True)
        (runs / name / ".lock").touch()
    with (runs / "running" / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        mine = scratch()
    assert sorted(path.name for path in runs.iterdir()) == sorted(["running", mine.name])


def test_a_cache_folder_that_cant_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    use_storage({"cache_dir": str(tmp_path / "file")})
    with pytest.raises(ConfigError, match=r"can't be written .* choose another folder"):
        scratch()
    use_storage()


def test_a_file_and_a_folder_of_one_name_are_one_line(faulty: Any) -> None:
    files = [RemoteFile(f"faulty://box/{name}", name, 1, "1", None, "") for name in ("a", "a/b")]
    with pytest.raises(InputError, match="faulty://box/a/b: lies below a file, which only stores can hold"):
        fetch_into(scratch() / "view", files)


def test_a_neighbour_that_mustnt_be_read_is_left_out(box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> Any:
        if url.endswith(".sha256"):
            raise ConfigError("refused")
        return list_files(url)

    monkeypatch.setattr(module, "list_files", refuse)
    assert local_copy(f"{box}/model.pt", beside=(".sha256",)).read_text() == "model.pt"
