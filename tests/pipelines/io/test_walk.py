"""Which files are met below folders, in which order, and that nothing in them can stop the walk."""

import os
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from radseg.pipelines.io import walk
from radseg.pipelines.io.walk import Visit, Walk


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def met(*roots: Path, exclude: Path | None = None) -> list[str]:
    """Files in the order in which they are met, relative to the first root."""
    return [os.path.relpath(file, roots[0]) for visit in Walk(roots, exclude) for file in visit.files]


def test_files_come_before_subfolders_and_numbers_count_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, "part10/a", "part9/a", "part9/b/c", "z", "part1/x", "PART2/x", "7/x", "١0/x", "a2")
    assert met(tmp_path) == ["a2", "z", "7/x", "PART2/x", "part1/x", "part9/a", "part9/b/c", "part10/a", "١0/x"]


def test_hidden_files_results_and_the_excluded_folder_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a", ".b", ".c/d", "__MACOSX/e", "out/f", "case/statistics.json", "case/preview.png", "case/mask")
    make(tmp_path, "case/below/image")
    assert met(tmp_path, exclude=tmp_path / "out") == ["a", "case/below/image"]


def test_a_folder_is_listed_only_when_its_turn_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/1", "b/1", "c/1")
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(walk.os, "scandir", lambda path: (listed.append(Path(path).name), scandir(path))[1])
    visits = iter(Walk([tmp_path]))
    seen = [(next(visits).files, tuple(listed[1:])) for _ in range(3)]
    assert seen == [([], ()), ([tmp_path / "a" / "1"], ("a",)), ([tmp_path / "b" / "1"], ("a", "b"))]


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    make(tmp_path, "image")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "pipe-link.dcm").symlink_to(tmp_path / "pipe.dcm")
    (tmp_path / "null.dcm").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        place = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        try:
            listener.bind("socket")
        finally:
            os.chdir(place)
    assert met(tmp_path) == ["image"]
    (named,) = Walk([tmp_path / "pipe.dcm"])
    assert [trouble.reason for trouble in named.troubles] == ["neither a file nor a folder; give a file, folder or zip"]


def test_broken_links_are_told(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    make(tmp_path, "file")
    (tmp_path / "through").symlink_to(tmp_path / "file" / "x")
    (visit,) = Walk([tmp_path])
    assert [path.name for path in visit.broken_links] == ["gone", "ring", "through"]
    assert [path.name for path in visit.files] == ["file"]


def test_a_folder_that_cannot_be_read_is_told_and_the_rest_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/1", "secret/1", "z/1")
    scandir = os.scandir

    def refusing(path: Path) -> "os._ScandirIterator[str]":
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(walk.os, "scandir", refusing)
    visits = list(Walk([tmp_path]))
    assert [file.parent.name for visit in visits for file in visit.files] == ["a", "z"]
    assert [(one.path, one.reason) for visit in visits for one in visit.troubles] == [
        (tmp_path / "secret", "can't be read (Permission denied); check its permissions")
    ]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside the tree that is walked."""
    folder = tmp_path / "elsewhere"
    make(folder, "deep/x", "deep/y", "z", ".hidden/h")
    return folder


@pytest.mark.parametrize(
    ("links", "files"),
    [
        # into the tree: met in its own place
        ({"a": "tree/own"}, ["own/file"]),
        ({"a": "tree/own/file"}, ["own/file"]),
        # what is hidden in the tree has no place of its own (git-annex)
        ({"a": "tree/.store/object"}, ["a", "own/file"]),
        # elsewhere: followed, and met once
        ({"a": "elsewhere/z", "b": "elsewhere/z"}, ["a", "own/file"]),
        ({"a": "elsewhere/deep", "b": "elsewhere"}, ["a/x", "a/y", "b/z", "own/file"]),
        ({"a": "elsewhere", "b": "elsewhere/deep/x", "c": "elsewhere/deep"}, ["b", "a/z", "a/deep/y", "own/file"]),
        ({"own/b": "elsewhere/.hidden/h", "a": "elsewhere"}, ["a/z", "a/deep/x", "a/deep/y", "own/b", "own/file"]),
        # in rings
        ({"a": "tree", "own/b": "tree/own"}, ["own/file"]),
        ({"a": "."}, ["own/file", "a/elsewhere/z", "a/elsewhere/deep/x", "a/elsewhere/deep/y"]),
        ({"a": "elsewhere", "../elsewhere/back": "tree"}, ["a/z", "a/deep/x", "a/deep/y", "own/file"]),
        ({"a": "tree/res", "res/loop": "tree/res"}, ["own/file"]),
    ],
)  # fmt: skip
def test_each_file_is_met_once_however_it_is_linked(
    tmp_path: Path, elsewhere: Path, links: dict[str, str], files: list[str]
) -> None:
    tree = make(tmp_path / "tree", "own/file", ".store/object", "res/statistics.json", "res/preview.png", "res/mask")
    for name, target in links.items():
        (tree / name).symlink_to(tmp_path / target)
    assert sorted(met(tree)) == sorted(files)


def test_of_overlapping_roots_each_file_counts_for_the_first(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "a/2", "b/.c/3", "b/4")
    a, b = tmp_path / "a", tmp_path / "b"
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(a)
    assert met(tmp_path, a, a / "1", tmp_path) == ["a/1", "a/2", "b/4"]
    assert met(a, tmp_path) == ["1", "2", "../b/4"]
    assert met(b, b / ".c", b / ".c" / "3") == ["4", ".c/3"]
    assert met(a / "2", tmp_path.parent / f"{tmp_path.name}-link", a) == [".", f"../../../{tmp_path.name}-link/1"]
    passed = [visit.passed_over for visit in Walk([tmp_path, a]) if visit.root == a]
    assert passed == [True]


def test_the_share_of_the_walk_grows_to_one(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "a/b/2", "c/3", "4")
    visits = list(Walk([tmp_path / "4", tmp_path / "4", tmp_path]))
    shares = [(visit.start, visit.stop) for visit in visits]
    assert shares[0] == (0, pytest.approx(2 / 3))
    assert all(before[1] == pytest.approx(after[0]) for before, after in pairwise(shares))
    assert shares[-1][1] == pytest.approx(1)
    assert isinstance(visits[0], Visit)


def test_a_tree_deeper_than_pythons_stack_is_walked(tmp_path: Path) -> None:
    place, deep = Path.cwd(), sys.getrecursionlimit() + 100
    os.chdir(tmp_path)
    try:
        for _ in range(deep):
            Path("d").mkdir()
            os.chdir("d")
        Path("image").touch()
        files = met(tmp_path)
    finally:
        os.chdir(place)
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest's own clearing recurses
    assert files == ["d/" * deep + "image"]
