"""What the server's process adds to MONAI Label: threads, the viewer on any port, and a reader of the archive."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("monailabel")

import httpx
from fastapi import FastAPI

from radseg.pipelines.errors import InputError
from radseg.pipelines.label_server import serve, viewer
from radseg.pipelines.label_server.archive import archive


def get(app: FastAPI, path: str, **request: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
            return await client.get(path, **request)

    return asyncio.run(run())


def test_calls_that_never_wait_run_beside_each_other() -> None:
    both_here = threading.Barrier(2)
    app = FastAPI()

    async def call(name: str) -> str:
        both_here.wait(30)
        return name

    app.add_api_route("/{name}", serve._in_thread(call))

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
            return await asyncio.gather(client.get("/a"), client.get("/b"))

    assert [one.json() for one in asyncio.run(run())] == ["a", "b"]


def test_a_call_that_waits_is_found_out() -> None:
    async def call() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits for something"):
        serve._in_thread(call)()


def test_a_port_that_is_taken_is_told() -> None:
    with serve._listen("127.0.0.1", 0) as one:
        one.listen()
        with pytest.raises(InputError, match="choose another --port"):
            serve._listen("127.0.0.1", one.getsockname()[1])


def test_the_viewer_asks_the_server_that_it_came_from() -> None:
    app = FastAPI()
    app.include_router(viewer.router)
    scripts = [
        file for file in viewer.folder().glob("*.js") if "MONAILABEL_SERVER_URL" in file.read_text("utf-8", "ignore")
    ]
    assert scripts
    for script in scripts:
        text = get(app, f"/ohif/{script.name}").text
        assert ":8000/'" not in text
        assert "window.location.origin + '/'" in text


def test_the_viewers_places_are_its_start_page_and_nothing_outside() -> None:
    app = FastAPI()
    app.include_router(viewer.router)
    start = (viewer.folder() / "index.html").read_bytes()
    for path in ("", "viewer", "..%2f..%2f..%2fconfig.py", "%2e%2e/%2e%2e/__init__.py"):
        assert get(app, f"/ohif/{path}").content == start


class Archive(http.server.BaseHTTPRequestHandler):
    """Answers as a DICOMweb service might, and remembers what it was asked."""

    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, {name.title(): value for name, value in self.headers.items()}))
        self.send_response(404 if "none" in self.path else 200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Set-Cookie", "x=y")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def pacs() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    handler = type("Handler", (Archive,), {"seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web", handler.seen
        server.shutdown()
        thread.join()


def test_the_archive_is_asked_in_the_viewers_words_but_not_with_its_login(pacs: Any) -> None:
    url, seen = pacs
    app = FastAPI()
    app.include_router(archive(url))
    headers = {"Accept": "application/dicom+json", "Cookie": "radseg_label=x", "Authorization": "Bearer x"}
    answer = get(app, "/proxy/dicom/qido/studies?limit=1&includefield=a&includefield=b", headers=headers)
    assert (answer.status_code, answer.json()) == (200, [])
    assert "set-cookie" not in answer.headers
    ((path, told),) = seen
    assert path == "/dicom-web/studies?limit=1&includefield=a&includefield=b"
    assert told["Accept"] == "application/dicom+json"
    assert not {"Cookie", "Authorization"} & set(told)
    assert get(app, "/proxy/dicom/wado/studies/none").status_code == 404


def test_the_archives_login_is_the_servers(pacs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url, seen = pacs
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_USERNAME", "anna")
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_PASSWORD", "secret")
    app = FastAPI()
    app.include_router(archive(url))
    get(app, "/proxy/dicom/wado/studies")
    assert seen[0][1]["Authorization"].startswith("Basic ")


def test_an_archive_that_is_not_there_is_told_in_one_line() -> None:
    app = FastAPI()
    with serve._listen("127.0.0.1", 0) as nobody:
        port = nobody.getsockname()[1]
    app.include_router(archive(f"http://127.0.0.1:{port}"))
    answer = get(app, "/proxy/dicom/wado/studies")
    assert answer.status_code == 502
    assert "archive doesn't answer" in answer.json()["detail"]
