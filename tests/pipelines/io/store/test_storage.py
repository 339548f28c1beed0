"""A lost connection is tried again, then said in one line, and leaves nothing half-done."""

import base64
import hashlib
import importlib
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError, InputError, RadsegError
from radseg.pipelines.io.store import storage
from radseg.pipelines.io.store.storage import download, file_at, list_files, remove, upload

CONTENT = b"0123456789" * 100


@pytest.fixture
def url(faulty: Any, tmp_path: Path) -> str:
    """A file in the store."""
    (tmp_path / "original").write_bytes(CONTENT)
    upload(tmp_path / "original", "faulty://box/folder/a.bin")
    return "faulty://box/folder/a.bin"


def test_what_was_uploaded_is_listed_downloaded_and_removed(url: str, tmp_path: Path) -> None:
    upload(tmp_path / "original", "faulty://box/folder/sub/b.bin")
    is_folder, files = list_files("faulty://box/folder")
    assert is_folder
    assert [(file.name, file.size, file.url) for file in files] == [
        ("a.bin", len(CONTENT), url),
        ("sub/b.bin", len(CONTENT), "faulty://box/folder/sub/b.bin"),
    ]
    download(files[1], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    remove(url)
    remove(url)
    assert [file.name for file in list_files("faulty://box")[1]] == ["folder/sub/b.bin"]


@pytest.mark.parametrize("kind", ["faults", "short"])
def test_a_connection_lost_three_times_is_no_matter(faulty: Any, url: str, tmp_path: Path, kind: str) -> None:
    setattr(faulty, kind, 3)
    download(file_at(url), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert len(faulty.downloads) == 4


@pytest.mark.parametrize(
    ("kind", "said"), [("faults", "connection was lost 4 times"), ("short", "another size or MD5")]
)
def test_a_connection_lost_every_time_is_one_line_and_no_file(
    faulty: Any, url: str, tmp_path: Path, kind: str, said: str
) -> None:
    setattr(faulty, kind, 99)
    with pytest.raises(InputError, match=f"^faulty://box/folder/a.bin: .*{said}.* again") as caught:
        download(file_at(url), tmp_path / "copy")
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__  # nor in a traceback
    assert not (tmp_path / "copy").exists()


def test_content_that_isnt_what_its_md5_says_is_refused(faulty: Any, url: str, tmp_path: Path) -> None:
    faulty.extra = {"content_settings": {"content_md5": hashlib.md5(CONTENT).digest()}}
    download(file_at(url), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    faulty.extra = {"md5Hash": base64.b64encode(hashlib.md5(b"other").digest()).decode()}
    with pytest.raises(InputError, match="another size or MD5"):
        download(file_at(url), tmp_path / "other")
    assert not (tmp_path / "other").exists()


class ClientAuthenticationError(Exception):
    """As Azure's."""


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (FileNotFoundError("SECRET"), InputError, "no such file, folder or container; check the address"),
        (PermissionError("SECRET"), ConfigError, "refuses access; check the credentials"),
        (ClientAuthenticationError("SECRET"), ConfigError, "refuses access; check the credentials"),
        (TimeoutError("SECRET"), InputError, "can't be reached"),
        (ValueError("SECRET"), InputError, r"the store failed 4 times \(ValueError\)"),
    ],
)
def test_every_trouble_is_one_line_with_a_remedy_and_without_what_the_store_said(
    faulty: Any, error: Exception, kind: type[RadsegError], said: str
) -> None:
    faulty.unlisted.append("info")
    faulty.error = error
    with pytest.raises(kind, match=said) as caught:
        list_files("faulty://box?sig=SECRET")
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_store_that_doesnt_answer_isnt_waited_for_long(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    faulty.unlisted.append("info")
    faulty.error = TimeoutError()
    monkeypatch.setattr(storage, "PATIENCE_S", 0.0)
    monkeypatch.setattr(storage.time, "sleep", calls.append)
    with pytest.raises(InputError, match="can't be reached"):
        list_files("faulty://box")
    assert calls == []


def test_a_listing_that_leads_out_of_the_folder_is_refused(faulty: Any, url: str) -> None:
    faulty.unlisted.append("../../evil.dcm")
    with pytest.raises(InputError, match=r"faulty://box/folder: the name '\.\./\.\./evil.dcm'"):
        list_files("faulty://box/folder")


@pytest.mark.parametrize(
    ("url", "missing", "package"),
    [("az://c", "adlfs", r"radseg\[azure\]"), ("s3://b", "s3fs", r"radseg\[s3\]"), ("gs://b", "gcsfs", "gcsfs")],
)
def test_a_missing_package_is_named(
    faulty: Any, monkeypatch: pytest.MonkeyPatch, url: str, missing: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    loaded = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(loaded, url.partition(":")[0], raising=False)
    storage._made.cache_clear()
    with pytest.raises(ConfigError, match=f"isn't installed: pip install {package}$"):
        list_files(url)


def test_an_unknown_scheme_is_one_line(faulty: Any) -> None:
    with pytest.raises(ConfigError, match="ftq:// is no store that is known; there are az"):
        list_files("ftq://server/x")


def test_libraries_that_log_urls_are_told_to_be_quiet(url: str) -> None:
    assert logging.getLogger("azure").level == logging.getLogger("fsspec").level == logging.ERROR


def test_a_file_that_changed_is_another_file(url: str, tmp_path: Path) -> None:
    before = file_at(url).key
    assert file_at(url).key == before
    (tmp_path / "original").write_bytes(CONTENT[::-1])
    upload(tmp_path / "original", url)
    assert file_at(url).key != before


def test_help_loads_no_library_of_stores() -> None:
    program = (
        "import sys, radseg.pipelines.cases, radseg.pipelines.cli; "
        "sys.exit(bool({'fsspec', 'adlfs', 's3fs', 'azure', 'aiohttp'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
