"""A server that sends elsewhere, answers without end or packs a bomb is told in one line and nothing is given away."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.pacs import dicomweb_answer
from radseg.pipelines.io.pacs.dicomweb import DicomwebServer
from radseg.pipelines.io.pacs.dicomweb_session import Patience
from radseg.pipelines.io.pacs.dicomweb_url import parse


@pytest.fixture
def pacs(fake_pacs: Any, tmp_path: Path, factory: ModuleType) -> Any:
    def change(_: int, dataset: Any) -> None:
        dataset.StudyInstanceUID = "1.2.1"

    factory.write_series(tmp_path / "in", factory.phantom(slices=2), uid="1.2.1.1", change=change)
    fake_pacs.put(tmp_path / "in")
    return fake_pacs


@pytest.fixture
def server(pacs: Any, clock: Any) -> Iterator[DicomwebServer]:
    with DicomwebServer(parse(f"{pacs.url}?PatientID=SECRET"), Patience(sleep=clock.sleep, clock=clock)) as opened:
        yield opened


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_another_server_is_never_told_what_was_asked(
    pacs: Any, new_fake_pacs: Any, server: DicomwebServer, clock: Any, tmp_path: Path, status: int
) -> None:
    with new_fake_pacs() as other:
        elsewhere = [(status, {"Location": f"{other.origin}/dw/studies?PatientID=SECRET"})]
        pacs.faults = {"/dw/studies": elsewhere * 2}
        with pytest.raises(
            InputError, match=rf"sends elsewhere to {other.origin} .HTTP {status}.; give that"
        ) as search:
            list(server.studies())
        with pytest.raises(InputError, match="sends elsewhere") as download:
            server.fetch("1.2.1", "1.2.1.1", "1.2.3", tmp_path / "it")
        assert other.requests == []
    assert "SECRET" not in f"{search.value} {download.value}".replace("query by PatientID", "")
    assert clock.pauses == []
    assert not (tmp_path / "it").exists()


def test_answers_are_asked_for_plain_and_a_compressed_one_isnt_unpacked(
    pacs: Any, server: DicomwebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = gzip.compress(b"[" + b" " * 1_000_000 + b"]")
    asked: list[str] = []

    def found(*_: object) -> Any:
        import flask

        asked.append(flask.request.headers["Accept-Encoding"])
        return bomb, 200, {"Content-Encoding": "gzip", "Content-Type": "application/dicom+json"}

    monkeypatch.setattr(pacs, "_found", found)
    with pytest.raises(InputError, match="the server compresses answers unasked"):
        list(server.studies())
    assert asked == ["identity"]


def test_an_answer_that_doesnt_fit_in_memory_is_refused(
    server: DicomwebServer, monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    monkeypatch.setattr(dicomweb_answer, "MAX_CONTENT_BYTES", 100)
    with pytest.raises(InputError, match="an answer is longer than 0 MiB; narrow the query"):
        server.instances("1.2.1", "1.2.1.1")
    assert clock.pauses == []


def test_an_instance_without_end_is_refused_and_leaves_no_file(
    server: DicomwebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    instance = server.instances("1.2.1", "1.2.1.1")[0]
    monkeypatch.setattr(dicomweb_answer, "MAX_INSTANCE_BYTES", 100)
    with pytest.raises(InputError, match="an instance is longer than 0 MiB"):
        server.fetch("1.2.1", "1.2.1.1", instance, tmp_path / "it")
    assert not list(tmp_path.glob("it*"))


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "9" * 10_000 + "]", "[[]]", '{"00080018": 3}', "\x00"])
def test_an_answer_of_nonsense_is_one_line(
    pacs: Any, server: DicomwebServer, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(pacs, "_found", lambda *_: (text, 200, {}))
    with pytest.raises(InputError, match="listing instances failed: the answer") as caught:
        server.instances("1.2.1", "1.2.1.1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uid", ["../../x", "1.2/3", "..", "1\r\nHost: x", "1" * 65, ""])
def test_a_hostile_uid_never_becomes_a_path(
    pacs: Any, server: DicomwebServer, monkeypatch: pytest.MonkeyPatch, uid: str
) -> None:
    answer = [{"00080018": {"vr": "UI", "Value": [uid]}}]
    monkeypatch.setattr(pacs, "_found", lambda *_: (answer, 200, {}))
    with pytest.raises(InputError, match="listing instances gave one without a valid SOPInstanceUID"):
        server.instances("1.2.1", "1.2.1.1")
