"""Bodies of requests: read within limits onto the disk, checked, and handed on."""

import json
import tempfile
from collections.abc import Mapping
from typing import IO, Any

import anyio
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.types import Message, Receive

from radseg.pipelines.label_server.guard import checks
from radseg.pipelines.label_server.guard.known import Known
from radseg.pipelines.label_server.guard.routes import Body, Route
from radseg.pipelines.label_server.refused import Refused

_IN_MEMORY = 256 * 1024
_CHUNK = 256 * 1024
_LONGEST_JSON = 1024 * 1024
_FIELDS = 8
_SILENCE_S = 30.0


class GoneError(Exception):
    """The client went away before it had said all."""


class Transit:
    """How many bytes of all requests may lie on the disk at a time.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, count: int) -> None:
        """Makes room for so many bytes.

        Raises:
            Refused: 503, if there is none.
        """
        if self._held + count > self._most:
            raise Refused(503, "too much is being sent to this server just now; send it again in a minute")
        self._held += count

    def give_back(self, count: int) -> None:
        """Says that so many bytes are gone."""
        self._held -= count


async def read(receive: Receive, headers: Headers, limit: int, transit: Transit) -> tuple[IO[bytes], int]:
    """A request's body as a file, in memory while it is small, and its length, which the caller gives back.

    Raises:
        Refused: 413 if it is longer than `limit` bytes, 408 if nothing more of it comes for half a minute, 503 if too
            much is in transit.
        GoneError: the client hung up.
    """
    told = headers.get("content-length", "0")
    if not told.isdigit() or int(told) > limit:
        raise _too_long(limit)
    body = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by who gets it
    length = 0
    try:
        more = True
        while more:
            try:
                with anyio.fail_after(_SILENCE_S):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, "nothing more of the request came for half a minute; send it again") from None
            if message["type"] == "http.disconnect":
                raise GoneError
            chunk = message.get("body", b"")
            if length + len(chunk) > limit:
                raise _too_long(limit)
            transit.take(len(chunk))
            length += len(chunk)
            if length > _IN_MEMORY:
                await anyio.to_thread.run_sync(body.write, chunk)
            else:
                body.write(chunk)
            more = message.get("more_body", False)
        body.seek(0)
    except BaseException:
        body.close()
        transit.give_back(length)
        raise
    return body, length


def replay(body: IO[bytes], receive: Receive) -> Receive:
    """The messages of a body that was read, then those that still come."""
    body.seek(0)
    ended = False

    async def again() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        chunk = await anyio.to_thread.run_sync(body.read, _CHUNK)
        ended = len(chunk) < _CHUNK
        return {"type": "http.request", "body": chunk, "more_body": not ended}

    return again


def nothing() -> IO[bytes]:
    """A body of no bytes, for calls that take none whatever is sent."""
    return _in_memory(b"")


def limit_of(route: Route, upload: int) -> int:
    """How many bytes a route's body may have."""
    return upload + _LONGEST_JSON if route.file is not None else _LONGEST_JSON


async def checked(body: IO[bytes], route: Route, headers: Headers, known: Known) -> tuple[IO[bytes], str, bool]:
    """A body that may go on, its content type, and whether it holds a file.

    Raises:
        Refused: 400 or 413, with what isn't taken.
    """
    if route.body is Body.NONE:
        return body, "", False
    if route.body is Body.JSON:
        keys = dict(route.params)
        if route.by_model:
            keys |= {model: checks.object_of(route.by_model, model) for model in known.models()}
        params = checks.allowed(as_json(body.read() or b"{}"), keys, known)
        return _in_memory(json.dumps(params).encode()), "application/json", False
    kind = headers.get("content-type", "")
    form = await _form(body, headers, kind)
    try:
        has_file = _check_form(form, route, known)
    finally:
        await form.close()
    return body, kind, has_file


def _check_form(form: FormData, route: Route, known: Known) -> bool:
    """Checks the fields of a form; whether it holds a file."""
    has_file = False
    names = [name for name, _ in form.multi_items()]
    if len(set(names)) < len(names):
        raise Refused(400, "form: a field stands there twice; send one file at a time")
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != route.file:
                raise Refused(400, f"form: no file is taken as {checks.shown(name)}")
            checks.file_name(value.filename)
            has_file = True
        elif name == route.form_field and name not in route.fields:
            checks.allowed(as_json(value.encode() or b"{}"), route.params, known, name)
        else:
            checks.allowed({name: value}, route.fields, known, "form")
    if route.file_needed and not has_file:
        raise Refused(400, f"form: the file is missing; send it as {route.file}")
    return has_file


async def _form(body: IO[bytes], headers: Headers, kind: str) -> FormData:
    async def chunks() -> Any:
        while chunk := await anyio.to_thread.run_sync(body.read, _CHUNK):
            yield chunk
        yield b""

    try:
        if kind.startswith("multipart/form-data"):
            return await MultiPartParser(
                headers, chunks(), max_files=1, max_fields=_FIELDS, max_part_size=_LONGEST_JSON
            ).parse()
        if kind.startswith("application/x-www-form-urlencoded") or not kind:
            return await FormParser(headers, chunks(), max_fields=_FIELDS, max_part_size=_LONGEST_JSON).parse()
    except (MultiPartException, HTTPException, ValueError, KeyError) as error:
        raise Refused(
            400, f"form: can't be read ({checks.shown(str(error))[1:-1]}); send multipart/form-data"
        ) from None
    raise Refused(415, "form: send multipart/form-data")


def as_json(content: bytes) -> Any:
    """JSON of a request; a key given twice, NaN and unending nesting are refused.

    Raises:
        Refused: 400.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Refused(400, "params: a key stands there twice")
        return dict(pairs)

    def constant(name: str) -> Any:
        raise Refused(400, f"params: {name} is no number of JSON")

    try:
        return json.loads(content, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(400, "params: isn't JSON") from None


def _in_memory(content: bytes) -> IO[bytes]:
    body = tempfile.SpooledTemporaryFile(max_size=_LONGEST_JSON * 2)  # noqa: SIM115 - closed by who gets it
    body.write(content)
    body.seek(0)
    return body


def _too_long(limit: int) -> Refused:
    return Refused(413, f"more than {limit} bytes; start the server with a larger --max-upload-mb")
