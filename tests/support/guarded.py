"""A guard around a small application that remembers what got through."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote

import httpx

from radseg.pipelines.label_server.guard.guard import Guard
from radseg.pipelines.label_server.guard.known import Known
from radseg.pipelines.label_server.guard.tokens import Role, Tokens

KEY = bytes(range(32))
BASE = "http://127.0.0.1:8000"
KNOWN = Known(
    images=lambda: ("case 1", "ct_2"),
    models=lambda: ("lung_xray", "spine"),
    strategies=lambda: ("random",),
    scores=lambda: ("dice",),
    devices=lambda: ("cpu",),
)


class Inner:
    """Remembers requests; answers 200, or what `answers` does.

    Attributes:
        seen: method, path, query, headers and body of each request.
    """

    def __init__(self, answers: Callable[[Any, Any, Any], Coroutine[Any, Any, None]] | None = None) -> None:
        self.seen: list[dict[str, Any]] = []
        self.answers = answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        self.seen.append(
            {"method": scope["method"], "path": scope["path"], "query": query, "headers": headers, "body": body}
        )
        if self.answers is not None:
            await self.answers(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})


class Guarded:
    """A guarded application, and people with tokens who ask it.

    Args:
        answers: what the application does, if it isn't to say 200.
        clock: seconds since 1970.
        options: of the guard.
    """

    def __init__(
        self,
        answers: Callable[[Any, Any, Any], Coroutine[Any, Any, None]] | None = None,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        self.inner = Inner(answers)
        self.tokens = Tokens(KEY, clock)
        self.guard = Guard(self.inner, self.tokens, KNOWN, **options)

    def token(self, role: Role = Role.ADMIN, seconds: float = 3600) -> str:
        """A new token."""
        return self.tokens.make("somebody", role, seconds)

    def ask(
        self, method: str, path: str, *, role: Role | None = Role.ADMIN, token: str | None = None, **request: Any
    ) -> httpx.Response:
        """The answer to a request by somebody of that role, or by nobody."""
        headers = dict(request.pop("headers", {}))
        if token is None and role is not None:
            token = self.token(role)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"

        async def as_written(scope: Any, receive: Any, send: Any) -> None:  # httpx would resolve .. itself
            await self.guard({**scope, "path": unquote(path.partition("?")[0])}, receive, send)

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app=as_written)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                return await client.request(method, path, headers=headers, **request)

        return asyncio.run(run())

    def refused(self, status: int, method: str, path: str, **request: Any) -> str:
        """The one line with which a request is refused that must get nowhere."""
        before = len(self.inner.seen)
        answer = self.ask(method, path, **request)
        assert answer.status_code == status, answer.text
        assert len(self.inner.seen) == before, "it got through"
        line = answer.json()["detail"]
        assert line
        assert "\n" not in line
        assert "Traceback" not in line
        return str(line)
