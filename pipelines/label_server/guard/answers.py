"""Answers: refusals as one line of JSON, failures without their traceback, headers that keep a browser in."""

import errno
import json
import logging
from collections.abc import Callable, Iterable

from starlette.types import Message, Send

from radseg.pipelines.errors import RadsegError, one_line, radseg_cause
from radseg.pipelines.label_server.refused import Refused

LOG = logging.getLogger("radseg.label")

# OHIF compiles WebAssembly, runs workers of blobs and styles itself; it needs nothing from elsewhere
_PAGE = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": _PAGE.encode(),
}
_KINDLY = "the server couldn't do this; its log names the kind of error"
_LONGEST = 500


async def answer(send: Send, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
    """Sends a whole answer."""
    told = {"content-type": kind, "content-length": str(len(content)), "cache-control": "no-store", **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def refuse(send: Send, error: Refused) -> None:
    """Sends a refusal: its status and one line."""
    headers = {"www-authenticate": "Bearer"} if error.status_code == 401 else {}
    if error.status_code == 503:
        headers["retry-after"] = "60"
    await answer(send, error.status_code, _line(str(error)), "application/json", headers)


def refusal_of(error: Exception) -> Refused:
    """What a client is told of an error that nobody caught: a user's mistake in its own words, nothing else's."""
    known = radseg_cause(error)
    if isinstance(known, Refused):
        return known
    if isinstance(known, RadsegError):
        return Refused(400, one_line(known))
    if type(error).__name__ == "MONAILabelException":
        return Refused(400, str(getattr(error, "msg", "")) or "MONAI Label refused this")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused(507, "the server's disk is full; nothing was changed; make room and send it again")
    return Refused(500, _KINDLY)


class Answer:
    """The way back of an answer: it hides what went wrong inside, and adds the browser's headers.

    Attributes:
        status: what was answered, 0 before.
        last: whether the connection ends with it.

    Args:
        send: gives it to the client.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started: Callable[[], None] = lambda: None
        self._failed: Message | None = None
        self._body = bytearray()
        self.status = 0
        self.last = False

    def on_start(self, started: Callable[[], None]) -> None:
        """Has `started` called when the answer begins."""
        self._started = started

    async def send(self, message: Message) -> None:
        """Takes a message of the server's; those of a failure are kept until it is over."""
        if message["type"] == "http.response.start" and (message["status"] >= 500 or message["status"] == 422):
            self._failed = message
        elif self._failed is not None and message["type"] == "http.response.body":
            if len(self._body) < 64 * 1024:
                self._body += message.get("body", b"")
        else:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._guarded(message.get("headers", ()))}
                self.status = message["status"]
                self._started()
            await self._send(message)

    async def end(self, error: Exception | None = None) -> None:
        """Sends what a failure looks like from outside."""
        if self.status:
            return
        if error is not None:
            refused = refusal_of(error)
        elif self._failed is not None:
            refused = Refused(
                400 if self._failed["status"] == 422 else self._failed["status"], _told(bytes(self._body))
            )
        else:
            return
        self._failed = None
        await refuse(self.send_plain, refused)

    async def send_plain(self, message: Message) -> None:
        """Sends a message of the guard's own."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": self._guarded(message["headers"])}
            self.status = message["status"]
            self._started()
        await self._send(message)

    def _guarded(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")]
        there = {name.lower() for name, _ in kept}
        ours = {**_ALWAYS, b"cache-control": b"no-store", **({b"connection": b"close"} if self.last else {})}
        return kept + [(name, value) for name, value in ours.items() if name not in there]


def _told(body: bytes) -> str:
    """What a failure says of itself, where that is a line of FastAPI's; else nothing of what it says."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return _KINDLY
    if isinstance(detail, list):
        detail = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in detail if isinstance(one, dict))
    return detail if isinstance(detail, str) and detail and "Traceback" not in detail else _KINDLY


def _line(text: str) -> bytes:
    return json.dumps({"detail": " ".join(text.split())[:_LONGEST]}, ensure_ascii=False).encode()
