"""The read cache fetches once, checks always, and stays below its limit without taking away what is in use."""

import os
from pathlib import Path

import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.store.read_cache import ReadCache
from radseg.pipelines.io.store.storage import RemoteFile


class Store:
    """Files of 1000 bytes, and how often each was fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.lost = False

    def fetch(self, remote: RemoteFile, target: Path) -> None:
        self.fetched.append(remote.name)
        if self.lost:
            raise InputError("lost")
        target.write_bytes(remote.name.encode() * 1000)


def _file(name: str, version: str = "1") -> RemoteFile:
    return RemoteFile(f"az://c/{name}", name, 1000, version, None, "")


def _all(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".sha256")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def cache(tmp_path: Path, store: Store) -> ReadCache:
    return ReadCache(tmp_path / "cache", 3500, store.fetch)


def _use(cache: ReadCache, remote: RemoteFile, target: Path) -> bytes:
    """Gets a file, reads it and lets it go."""
    cache.get(remote, target)
    content = target.read_bytes()
    target.unlink()
    return content


def test_a_file_is_fetched_once_until_it_changes(cache: ReadCache, store: Store, tmp_path: Path) -> None:
    for _ in range(3):
        assert _use(cache, _file("a"), tmp_path / "x") == b"a" * 1000
    assert store.fetched == ["a"]
    _use(cache, _file("a", "2"), tmp_path / "x")
    assert store.fetched == ["a", "a"]


def test_another_process_finds_it_too(cache: ReadCache, store: Store, tmp_path: Path) -> None:
    _use(cache, _file("a"), tmp_path / "x")
    _use(ReadCache(tmp_path / "cache", 3500, store.fetch), _file("a"), tmp_path / "x")
    assert store.fetched == ["a"]


def test_a_store_that_tells_no_version_is_asked_every_time(cache: ReadCache, store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        _use(cache, _file("a", ""), tmp_path / "x")
    assert store.fetched == ["a", "a"]


@pytest.mark.parametrize("damage", [b"", b"b" * 1000, b"a" * 999])
def test_a_damaged_file_is_fetched_again(cache: ReadCache, store: Store, tmp_path: Path, damage: bytes) -> None:
    _use(cache, _file("a"), tmp_path / "x")
    held = cache.objects / _file("a").key
    held.chmod(0o600)
    held.write_bytes(damage)
    assert _use(cache, _file("a"), tmp_path / "x") == b"a" * 1000
    assert store.fetched == ["a", "a"]


def test_an_object_whose_hash_was_lost_is_fetched_again(cache: ReadCache, store: Store, tmp_path: Path) -> None:
    _use(cache, _file("a"), tmp_path / "x")
    (cache.objects / f"{_file('a').key}.sha256").unlink()
    assert _use(cache, _file("a"), tmp_path / "x") == b"a" * 1000
    assert store.fetched == ["a", "a"]


def test_a_failed_download_leaves_nothing(cache: ReadCache, store: Store, tmp_path: Path) -> None:
    store.lost = True
    with pytest.raises(InputError, match="lost"):
        cache.get(_file("a"), tmp_path / "view" / "x")
    assert _all(tmp_path) == []
    assert list(tmp_path.rglob("*.sha256")) == []


def test_what_was_used_longest_ago_goes_first(cache: ReadCache, store: Store, tmp_path: Path) -> None:
    for second, name in enumerate("abc"):
        _use(cache, _file(name), tmp_path / "x")
        os.utime(cache.objects / f"{_file(name).key}.sha256", (second, second))
    _use(cache, _file("a"), tmp_path / "x")  # now the newest
    _use(cache, _file("d"), tmp_path / "x")
    assert _all(cache.objects) == sorted(_file(name).key for name in "acd")


def test_what_is_in_use_stays_though_the_limit_is_passed(
    cache: ReadCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abcde":
        cache.get(_file(name), tmp_path / name)
    assert all((tmp_path / name).read_bytes() == name.encode() * 1000 for name in "abcde")
    assert len(_all(cache.objects)) == 5
    assert "more than the read cache's limit" in caplog.text
    (tmp_path / "b").unlink()
    cache.get(_file("f"), tmp_path / "f")
    assert _file("b").key not in _all(cache.objects)


def test_a_file_system_without_hard_links_gets_copies(
    cache: ReadCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    assert _use(cache, _file("a"), tmp_path / "x") == b"a" * 1000
    assert (cache.objects / _file("a").key).stat().st_nlink == 1


def test_a_cache_that_cant_be_written_is_one_line(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: the read cache can't be written \(.*\); free some space or set"):
        ReadCache(tmp_path / "file", 10, store.fetch).get(_file("a"), tmp_path / "x")
