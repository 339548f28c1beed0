"""URLs and paths are told apart, and what is secret in a URL isn't shown."""

from pathlib import Path

import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.store.url import absolute, child, is_url, place, safe_name, shown


@pytest.mark.parametrize("url", ["az://c/p", "abfs://c@a.dfs.core.windows.net/p", "s3://b", "gs://b/x", "memory://x"])
def test_urls_are_urls(url: str) -> None:
    assert is_url(url)
    assert place(url) == absolute(url) == url


@pytest.mark.parametrize("path", ["C:/data", "C:\\data", "C://data", "data/az", "/az:/x", "a:b", "runs/spine", "~"])
def test_paths_and_drives_are_none(path: str) -> None:
    assert not is_url(path)
    assert place(path) == Path(path)


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert place(f"file://{tmp_path}") == tmp_path
    assert absolute(f"file://{tmp_path}") == str(tmp_path)


@pytest.mark.parametrize("url", ["az://c/p", "s3://bucket/a/b", "https://server/file.zip"])
def test_a_url_that_went_through_a_path_is_put_right(url: str) -> None:
    assert place(Path(url)) == url


def test_double_and_trailing_slashes_dont_make_another_place() -> None:
    assert place("az://c/p//x/") == "az://c/p/x"


def test_a_child_of_a_url_stays_below_it() -> None:
    assert child("az://c/p/", "images/x.png") == "az://c/p/images/x.png"
    assert child("az://c", "s3://b/x.png") == "s3://b/x.png"
    assert child(Path("data"), "x.png") == Path("data/x.png")
    with pytest.raises(InputError, match="leads out of the folder"):
        child("az://c/p", "../x.png")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "C:/x", "a\\..\\x", "a//b", "./x", "", "a\0"])
def test_names_that_lead_out_of_a_folder_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"az://c/p: the name .* rename it"):
        safe_name(name, "az://c/p?sig=SECRET")


def test_queries_and_passwords_are_never_shown() -> None:
    assert shown("https://me:SECRET@server/a/b.zip?sv=1&sig=SECRET#x") == "https://server/a/b.zip"
    assert shown("abfs://c@a.dfs.core.windows.net/p") == "abfs://c@a.dfs.core.windows.net/p"
