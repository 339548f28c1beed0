"""The guard: an ASGI application around another that lets through what the table of routes allows, word for word."""

import time
from collections.abc import Collection, Sequence
from urllib.parse import parse_qsl, quote, urlencode

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from radseg.pipelines.label_server.guard import bodies, checks, login
from radseg.pipelines.label_server.guard.answers import LOG, Answer, answer
from radseg.pipelines.label_server.guard.bodies import GoneError
from radseg.pipelines.label_server.guard.known import Known
from radseg.pipelines.label_server.guard.login import Login
from radseg.pipelines.label_server.guard.loopback import LOOPBACK
from radseg.pipelines.label_server.guard.origin import check_host, check_own_page
from radseg.pipelines.label_server.guard.queues import Place, Queues
from radseg.pipelines.label_server.guard.routes import Body, Route, routes
from radseg.pipelines.label_server.guard.tokens import Identity, Tokens
from radseg.pipelines.label_server.refused import Refused

_AT_ONCE = {"infer": 1, "sample": 1, "write": 1, "start": 1}
_UPLOADS_IN_TRANSIT = 4
_LEAST_IN_TRANSIT = 2**28
_HTML = "text/html; charset=utf-8"
_JSON = "application/json"
_PUBLIC = "guard"  # what the log calls paths that nothing answers to
_Words = tuple[str, list[tuple[str, str]]]


class Guard:
    """Refuses in one line what isn't allowed, and hands on the rest as it was checked, not as it was sent.

    Args:
        app: what answers.
        tokens: who may ask.
        known: what there is to ask for.
        hosts: names that the server answers to.
        secure: whether it speaks TLS.
        upload_bytes: how long a file may be.
        table: what may be asked.
        queues: which requests wait for each other.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        known: Known,
        *,
        hosts: Collection[str] = LOOPBACK,
        secure: bool = False,
        upload_bytes: int = 2**30,
        table: Sequence[Route] | None = None,
        queues: Queues | None = None,
    ) -> None:
        self._app = app
        self._login = Login(tokens, secure)
        self._known = known
        self._hosts = tuple(hosts)
        self._scheme = "https" if secure else "http"
        self._upload_bytes = upload_bytes
        self._transit = bodies.Transit(max(_LEAST_IN_TRANSIT, _UPLOADS_IN_TRANSIT * upload_bytes))
        self._table = routes() if table is None else table
        self._queues = queues or Queues(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or has it answered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        log = {"pattern": _PUBLIC}
        reply = Answer(send)
        kind = ""
        try:
            await self._checked(scope, receive, reply, log)
        except GoneError:
            kind = " gone"
        except Refused as error:
            await reply.end(error)
        except Exception as error:  # whatever it is, it must not reach the client or the log in words
            kind = f" {type(error).__name__}"
            await reply.end(error)
        method = scope["method"] if scope["method"].isalpha() and len(scope["method"]) < 10 else "?"
        spent = (time.perf_counter() - began) * 1000
        LOG.info("%s %s %s %.0f ms%s", method, log["pattern"], reply.status or "-", spent, kind)

    async def _checked(self, scope: Scope, receive: Receive, reply: Answer, log: dict[str, str]) -> None:
        headers = Headers(scope=scope)
        check_host(headers, self._hosts)
        if await self._own(scope, receive, reply, headers, log):
            return
        identity, by_cookie = self._login.identity(headers)
        if identity is None:
            await self._unknown(scope, reply, headers)
            return
        if by_cookie:
            check_own_page(headers, self._scheme, scope["method"])
        route, segments = self._find(scope)
        log["pattern"] = route.pattern
        if identity.role < route.role:
            needed, held = route.role.name.lower(), identity.role.name.lower()
            raise Refused(403, f"this takes the role {needed}; your token's is {held}")
        words = await anyio.to_thread.run_sync(self._check_words, route, segments, scope)
        await self._hand_on(route, words, scope, receive, reply, headers)

    async def _hand_on(
        self, route: Route, words: _Words, scope: Scope, receive: Receive, reply: Answer, headers: Headers
    ) -> None:
        path, query = words
        place: Place | None = None
        if route.body is Body.NONE:
            # MONAI Label's client repeats the length of its last request here, and sends nothing
            read, length = bodies.nothing(), 0
        else:
            limit = bodies.limit_of(route, self._upload_bytes)
            read, length = await bodies.read(receive, headers, limit, self._transit)
        body = read
        try:
            body, kind, has_file = await bodies.checked(read, route, headers, self._known)
            named = sum(key in ("image", "session_id") for key, _ in query)
            if route.pattern == "/infer/{model}" and named + has_file != 1:
                raise Refused(400, "infer: name an image that is listed, or a session, or send a file; one of them")
            if route.queue is not None:
                place = await self._queues.enter(route.queue, receive)
            body.seek(0, 2)
            inner = {
                **scope,
                "path": path,
                "raw_path": quote(path).encode(),
                "query_string": urlencode(query).encode(),
                "headers": _headers(headers, kind, body.tell() if route.body is not Body.NONE else None),
            }
            reply.last = route.body is Body.NONE and headers.get("content-length", "0") != "0"
            # the work is done when the answer begins; who reads it slowly keeps nobody waiting
            reply.on_start(place.leave if place is not None else lambda: None)
            await self._app(inner, bodies.replay(body, receive), reply.send)
            await reply.end()
        finally:
            if place is not None:
                place.leave()
            body.close()
            read.close()
            self._transit.give_back(length)

    def _find(self, scope: Scope) -> tuple[Route, dict[str, str]]:
        """The route of a request, and its path's parts.

        Raises:
            Refused: 404 of a path that nothing answers to, 405 of a method that its path doesn't take.
        """
        path_known = False
        for route in self._table:
            segments = route.match(scope["path"])
            if segments is not None:
                path_known = True
                if route.method == scope["method"]:
                    return route, segments
        if path_known:
            raise Refused(405, "this path doesn't take that method")
        raise Refused(404, "nothing answers here; docs/annotation.md lists what does")

    def _check_words(self, route: Route, segments: dict[str, str], scope: Scope) -> _Words:
        """The path and query as they go on, from what was checked.

        Raises:
            Refused: 400 or 404, with what isn't taken.
        """
        path = route.pattern
        for name, value in segments.items():
            checked = route.segments[name](value, self._known) if name in route.segments else checks.rest_of_path(value)
            path = path.replace("{" + name + "}", checked).replace("{" + name + "...}", checked)
        try:
            told = parse_qsl(
                scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(scope["query_string"]),
                errors="strict",
                max_num_fields=32,
            )
        except ValueError:
            raise Refused(400, "query: isn't KEY=VALUE&KEY=VALUE in UTF-8") from None
        query = dict(told)
        if len(query) < len(told) and not route.loose:
            raise Refused(400, "query: a key stands there twice")
        if route.loose:
            return path, checks.loose(told)
        # empty is how some clients leave a key out
        query = {key: value for key, value in query.items() if value or key not in route.query}
        winner, losers = route.instead
        if winner in query:
            query = {key: value for key, value in query.items() if key not in losers}
        query = checks.allowed(query, route.query, self._known, "query")
        missing = [key for key in route.needed if key not in query]
        if missing:
            raise Refused(400, f"query: {missing[0]} is missing")
        return path, list(query.items())

    async def _own(self, scope: Scope, receive: Receive, reply: Answer, headers: Headers, log: dict[str, str]) -> bool:
        """Answers what the guard itself answers: logging in; whether it was that."""
        asked = f"{scope['method']} {scope['path']}"
        send = reply.send_plain
        if asked in ("GET /", "GET /login", "POST /login", "POST /logout", "GET /auth/", "POST /auth/token"):
            log["pattern"] = scope["path"]
        if asked == "GET /":
            await answer(send, 303, b"", _HTML, {"location": "/ohif/"})
        elif asked == "GET /login":
            await answer(send, 200, self._login.page(_next(scope)), _HTML)
        elif asked == "POST /login":
            check_own_page(headers, self._scheme, "POST")
            token, wanted = login.token_and_next(await self._small(receive, headers))
            cookie = self._login.cookie_of(token)
            if cookie is None:
                await answer(send, 401, self._login.page(wanted, refused=True), _HTML)
            else:
                await answer(send, 303, b"", _HTML, {"location": wanted, "set-cookie": cookie})
        elif asked == "POST /logout":
            check_own_page(headers, self._scheme, "POST")
            await answer(send, 303, b"", _HTML, {"location": "/login", "set-cookie": self._login.ended()})
        elif asked == "GET /auth/":
            await answer(send, 200, login.enabled(), _JSON)
        elif asked == "POST /auth/token":
            await answer(send, 200, self._login.auth_token(await self._small(receive, headers)), _JSON)
        elif asked == "GET /auth/token/valid":
            log["pattern"] = scope["path"]
            identity: Identity | None = self._login.identity(headers)[0]
            if identity is None:
                raise _no_token()
            await answer(send, 200, login.who(identity), _JSON)
        else:
            return False
        return True

    async def _unknown(self, scope: Scope, reply: Answer, headers: Headers) -> None:
        """Sends a browser that wants the viewer to the login, anybody else away."""
        wants_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if not wants_page or not scope["path"].startswith("/ohif/"):
            raise _no_token()
        query = scope["query_string"].decode("latin-1")
        wanted = quote(scope["path"]) + (f"?{query}" if query else "")
        await answer(reply.send_plain, 303, b"", _HTML, {"location": f"/login?{urlencode({'next': wanted})}"})

    async def _small(self, receive: Receive, headers: Headers) -> bytes:
        body, length = await bodies.read(receive, headers, 8192, self._transit)
        try:
            content: bytes = body.read()
            return content
        finally:
            body.close()
            self._transit.give_back(length)


def _no_token() -> Refused:
    return Refused(401, "send a valid token as 'Authorization: Bearer TOKEN', or log in at /login")


def _next(scope: Scope) -> str:
    query: str = scope["query_string"].decode("latin-1")
    return dict(parse_qsl(query)).get("next", "")


def _headers(headers: Headers, kind: str, length: int | None) -> list[tuple[bytes, bytes]]:
    """Headers that go on: what the application needs to know, no credentials."""
    kept = [(name.encode(), value.encode("latin-1")) for name in ("host", "accept", "range", "if-none-match")
            for value in headers.getlist(name)[:1]]  # fmt: skip
    if length is not None:
        kept.append((b"content-length", str(length).encode()))
    return [*kept, (b"content-type", kind.encode("latin-1"))] if kind else kept
