"""A DICOMweb server in this process with the faults that real ones have."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pydicom
from pydicom.datadict import tag_for_keyword
from werkzeug.serving import WSGIRequestHandler, make_server

_BOUNDARY = "fake-boundary"
Answer = tuple[int, dict[str, str]]


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


class FakePacs:
    """Serves DICOM files on a free port of this machine; a context.

    Attributes:
        cap: the most answers that a search gives.
        heeds_keys, heeds_offset: whether searches do.
        left_out: keywords that answers never hold.
        faults: answers to give before the right ones, for requests whose path holds the key.
        cut: how many downloads stop half-way: "short" before the Content-Length, "open" without one.
        requests, authorizations: path with query, and Authorization header, of every request.
        stored: bodies that were sent.
        store_answer: how storing is answered.
    """

    def __init__(self, ssl_context: Any = None) -> None:
        self.cap = 1000
        self.heeds_keys = self.heeds_offset = True
        self.left_out: set[str] = set()
        self.faults: dict[str, list[Answer]] = {}
        self.cut: list[str] = []
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.stored: list[bytes] = []
        self.store_answer: tuple[Any, int, dict[str, str]] = ({}, 200, {})
        self.instances: dict[tuple[str, str, str], tuple[bytes, Any]] = {}
        app = flask.Flask("fake")
        app.before_request(self._fault)
        routes: dict[str, Callable[..., Any]] = {
            "/dw/studies": lambda: self._found(1, 0, []),
            "/dw/studies/<a>/series": lambda a: self._found(2, 1, [a]),
            "/dw/studies/<a>/series/<b>/instances": lambda a, b: self._found(3, 2, [a, b]),
            "/dw/studies/<a>/series/<b>/instances/<c>": self._instance,
        }
        for rule, view in routes.items():
            app.add_url_rule(rule, rule, view)
        app.add_url_rule("/dw/studies", "store", self._store, methods=["POST"])
        handler = _Silent
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=handler, ssl_context=ssl_context)
        scheme = "http" if ssl_context is None else "https"
        self.origin = f"{scheme}://127.0.0.1:{self.server.server_port}"
        self.url = f"dicomweb+{self.origin}/dw"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "FakePacs":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def put(self, folder: Path) -> None:
        for file in sorted(folder.rglob("*.dcm")):
            dataset = pydicom.dcmread(file)
            place = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
            self.instances[place] = file.read_bytes(), dataset

    def _fault(self) -> Any:
        self.requests.append(flask.request.full_path)
        self.authorizations.append(flask.request.headers.get("Authorization"))
        for part, answers in self.faults.items():
            if part in flask.request.path and answers:
                status, headers = answers.pop(0)
                return "PATIENT in an error page", status, headers
        return None

    def _found(self, level: int, above: int, uids: list[str]) -> Any:
        arguments = flask.request.args
        keywords = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"][:level]
        fields = [*keywords, *arguments.getlist("includefield"), *arguments]
        found: dict[str, Any] = {}
        for place, (_, dataset) in self.instances.items():
            if list(place[:above]) == uids and (not self.heeds_keys or self._matches(dataset, arguments)):
                kept = pydicom.Dataset()
                for keyword in fields:
                    if tag_for_keyword(keyword) and keyword in dataset and keyword not in self.left_out:
                        kept[keyword] = dataset[keyword]
                found[place[level - 1]] = kept.to_json_dict()
        start = int(arguments.get("offset", 0)) if self.heeds_offset else 0
        length = min(self.cap, int(arguments.get("limit", 1000)))
        page = list(found.values())[start : start + length]
        return (flask.jsonify(page), 200) if page else ("", 204)

    @staticmethod
    def _matches(dataset: Any, arguments: Any) -> bool:
        return all(
            str(dataset.get(keyword, "")) == value for keyword, value in arguments.items() if tag_for_keyword(keyword)
            and keyword not in ("ModalitiesInStudy",)
        )  # fmt: skip

    def _instance(self, a: str, b: str, c: str) -> Any:
        if (a, b, c) not in self.instances:
            return "no such instance", 404
        content = self.instances[a, b, c][0]
        body = b"\r\n".join([f"--{_BOUNDARY}".encode(), b"Content-Type: application/dicom", b"", content,
                             f"--{_BOUNDARY}--".encode(), b""])  # fmt: skip
        headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'}
        how = self.cut.pop() if self.cut else ""
        if how == "short":
            headers["Content-Length"] = str(len(body))
        if not how:
            return body, 200, headers

        def half() -> Iterator[bytes]:
            yield body[: len(body) // 2]

        return flask.Response(half(), 200, headers)

    def _store(self) -> Any:
        self.stored.append(flask.request.get_data())
        return self.store_answer
