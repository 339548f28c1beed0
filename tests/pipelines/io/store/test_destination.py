"""Results at a URL appear whole, and what was there before isn't lost by an accident."""

from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.store import destination as module
from radseg.pipelines.io.store.destination import Destination, staged
from radseg.pipelines.io.store.local_copy import with_urls
from radseg.pipelines.io.store.storage import upload


def _held(faulty: Any) -> list[str]:
    return sorted(faulty.store)


def _write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def test_a_local_folder_stays_as_it_is(tmp_path: Path) -> None:
    here = Destination(tmp_path)
    assert (here.local, here.url, str(here)) == (tmp_path, None, str(tmp_path))
    assert staged(tmp_path) == tmp_path
    _write(tmp_path / "case", mask="x")
    here.publish(["case"])
    here.retract(["case"])
    here.check_writable()
    assert here.names("case") == {"mask"}
    assert here.names("other") is None
    assert here.set_aside(["case"]) is None
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "case", tmp_path / "case" / "mask"]


def test_a_url_is_staged_and_called_by_its_url(faulty: Any) -> None:
    folder = staged("faulty://box/out")
    assert Destination(folder).url == Destination("faulty://box/out").url == "faulty://box/out"
    assert Destination("faulty://box/out").local == folder
    assert str(Destination(folder)) == with_urls(folder) == "faulty://box/out"
    assert staged("faulty://box/out") != folder


def test_the_last_file_of_a_case_is_there_only_with_all_others(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Destination(staged("faulty://box/out"))
    _write(there.local / "case", a="1", statistics="1", z="1")
    order = []

    def note(file: Path, url: str) -> None:
        order.append(url.rpartition("/")[2])
        upload(file, url)

    monkeypatch.setattr(module, "upload", note)
    there.publish_case("case", last="statistics")
    assert order == ["a", "z", "statistics"]
    assert _held(faulty) == ["/box/out/case/a", "/box/out/case/statistics", "/box/out/case/z"]


def test_a_replacement_cut_short_doesnt_pass_for_a_whole_case(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Destination(staged("faulty://box/out"))
    _write(first.local / "case", mask="1", old="1", statistics="1")
    first.publish_case("case", last="statistics")
    second = Destination(staged("faulty://box/out"))
    assert second.names("case") == {"mask", "old", "statistics"}
    _write(second.local / "case", mask="2", statistics="2")

    def cut(file: Path, url: str) -> None:
        if file.name == "statistics":
            raise InputError("lost")
        upload(file, url)

    monkeypatch.setattr(module, "upload", cut)
    with pytest.raises(InputError, match="lost"):
        second.publish_case("case", last="statistics")
    assert _held(faulty) == ["/box/out/case/mask", "/box/out/case/old"]
    monkeypatch.setattr(module, "upload", upload)
    second.publish_case("case", last="statistics")
    assert _held(faulty) == ["/box/out/case/mask", "/box/out/case/statistics"]


def test_what_is_there_can_be_fetched(faulty: Any) -> None:
    first = Destination(staged("faulty://box/out"))
    _write(first.local, last="1")
    first.publish(["last"])
    second = Destination(staged("faulty://box/out"))
    second.fetch(["last", "missing"])
    assert [file.name for file in second.local.iterdir()] == ["last"]


@pytest.mark.parametrize(
    ("url", "aside"), [("faulty://box/out", "faulty://box/out.2"), ("faulty://box", "faulty://box/earlier.2")]
)
def test_an_earlier_run_is_set_aside(faulty: Any, url: str, aside: str) -> None:
    for number in (1, 2):
        first = Destination(staged(url))
        _write(first.local, model=str(number), other="mine")
        _write(first.local / "logs", events="1")
        first.publish(["model", "other", "logs"])
        moved_to = Destination(staged(url)).set_aside(["model", "logs"])
    assert moved_to == aside
    top = url.removeprefix("faulty:/")
    assert {name for name in _held(faulty) if name.startswith(f"{top}/") and "earlier" not in name} == {f"{top}/other"}
    assert faulty.store[f"{aside.removeprefix('faulty:/')}/model"].getvalue() == b"2"
    assert f"{aside.removeprefix('faulty:/')}/logs/events" in faulty.store


def test_results_that_cant_be_uploaded_are_kept(faulty: Any, tmp_path: Path) -> None:
    there = Destination(staged("faulty://box/out"))
    _write(there.local, model="precious")
    with pytest.raises(InputError, match=r"lost; the results are kept in .*kept") as caught, there.kept_on_failure():
        raise InputError("lost")
    kept = Path(str(caught.value).rpartition(" ")[2])
    assert (kept / "model").read_text() == "precious"


def test_a_store_that_takes_nothing_is_known_at_once(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("SECRET")

    Destination("faulty://box/fine").check_writable()
    assert _held(faulty) == []
    monkeypatch.setattr(faulty, "put_file", refuse)
    with pytest.raises(InputError, match=r"faulty://box/out/.writable: writing failed: the store can't be reached"):
        Destination("faulty://box/out").check_writable()
