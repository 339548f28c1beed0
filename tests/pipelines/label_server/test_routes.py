"""Versions over HTTP: listed without a path, rolled back by number."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("monailabel")

from fastapi import FastAPI

from radseg.pipelines.label_server import routes
from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.models.versions import Versions


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    versions = Versions(tmp_path)
    weights = versions.prepare("lung_xray") / "models" / "model.pt"
    versions.add("lung_xray", weights, note={"labels": 3})
    return versions


@pytest.fixture
def client(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    testclient = pytest.importorskip("fastapi.testclient")
    serving = Serving(versions, ["lung_xray"], "cpu")
    monkeypatch.setattr(routes, "app_instance", lambda: SimpleNamespace(versions=versions, serving=serving))
    app = FastAPI()
    app.include_router(routes.router)
    with testclient.TestClient(app) as client:
        yield client


def test_versions_are_listed_and_nothing_tells_where_they_lie(client, versions: Versions) -> None:  # type: ignore[no-untyped-def]
    answer = client.get("/radseg/versions/lung_xray")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["model"], told["current"]) == ("lung_xray", 2)
    assert [one["version"] for one in told["versions"]] == [1, 2]
    assert told["versions"][1]["note"] == {"labels": 3}
    assert str(versions.workspace) not in answer.text


def test_an_older_version_serves_again_when_asked(client, versions: Versions) -> None:  # type: ignore[no-untyped-def]
    answer = client.post("/radseg/versions/lung_xray/rollback", params={"to": 1})
    assert answer.json()["current"] == versions.current("lung_xray") == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/radseg/versions/lung_xray/rollback?to=9", 404),
        ("/radseg/versions/lung_xray/rollback?to=x", 422),
        ("/radseg/versions/lung_xray/rollback", 422),
        ("/radseg/versions/nobody/rollback?to=1", 404),
        ("/radseg/versions/..%2Fx/rollback?to=1", 404),
    ],
)
def test_what_there_isnt_is_refused_and_nothing_changes(client, versions: Versions, path: str, status: int) -> None:  # type: ignore[no-untyped-def]
    assert client.post(path).status_code == status
    assert versions.current("lung_xray") == 2
