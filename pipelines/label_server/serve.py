"""The server's process: MONAI Label's calls and ours behind the guard. Started by `launch`."""

import asyncio
import ctypes
import inspect
import json
import logging
import logging.handlers
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from radseg.pipelines.errors import InputError, one_line
from radseg.pipelines.label_server.guard.guard import Guard
from radseg.pipelines.label_server.guard.known import Known
from radseg.pipelines.label_server.guard.tokens import Tokens, read_or_make_key
from radseg.pipelines.label_server.settings import Settings

_GRACE_S = 10
_MOST_AT_ONCE = 600
_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Serves until stopped.

    Args:
        arguments: file with the settings, and the number of the pipe that gets one line of JSON: `{"port": N}` as soon
            as the server answers, `{"error": LINE}` if it never will.
    """
    settings = Settings.load(Path(arguments[0]))
    signal.signal(signal.SIGTERM, _end_all)
    with os.fdopen(int(arguments[1]), "w") as word:
        _end_with_parent()
        _log(settings)
        try:
            listening = _listen(settings.host, settings.port)
            guarded = build(settings)
        except Exception as error:  # whatever it is, who started this must hear of it
            if settings.verbose:
                logging.getLogger("radseg.label").exception("not started")
            word.write(json.dumps({"error": one_line(error)}) + "\n")
            return 2

        def ready() -> None:
            word.write(json.dumps({"port": listening.getsockname()[1]}) + "\n")
            word.flush()

        asyncio.run(_serve(guarded, settings, listening, ready))
    return 0


def build(settings: Settings) -> Guard:
    """The guarded application; its models are loaded, or will be when they are asked for.

    Raises:
        RadsegError: a bundle, its weights or the studies can't be used.
    """
    from fastapi import FastAPI
    from monailabel.endpoints import activelearning, batch_infer, datastore, infer, info, scoring, session, train
    from monailabel.interfaces.utils.app import app_instance

    from radseg.pipelines.label_server.archive import archive
    from radseg.pipelines.label_server.routes import router as versions
    from radseg.pipelines.label_server.tasks.train_all import router as train_all
    from radseg.pipelines.label_server.viewer import router as viewer

    instance = app_instance()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        instance.server_mode(True)
        instance.on_init_complete()
        yield

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.include_router(train_all)  # before MONAI Label's of that path
    for module in (activelearning, datastore, infer, info, session):
        _in_threads(module.router, app)
    for module, kind in ((batch_infer, "batch_infer"), (scoring, "scoring"), (train, "train")):
        _in_threads(module.router, app, kind)
    app.include_router(versions)
    app.include_router(viewer)
    if settings.studies.startswith(("http://", "https://")):
        app.include_router(archive(settings.studies))
    known = Known(
        images=lambda: instance.datastore().list_images(),
        models=lambda: _names(instance._infers),
        strategies=lambda: _names(instance._strategies),
        scores=lambda: _names(instance._scoring_methods),
        devices=_devices,
        dicom=settings.studies.startswith(("http://", "https://")),
    )
    tokens = Tokens(read_or_make_key(settings.key_file))
    secure = settings.certificate is not None
    return Guard(app, tokens, known, hosts=settings.hosts, secure=secure, upload_bytes=settings.upload_bytes)


def _names(content: Any) -> Collection[str]:
    return tuple(content)


def _devices() -> Collection[str]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", "auto", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count)))


def _in_threads(router: Any, app: Any, kind: str | None = None) -> None:
    """Adds MONAI Label's calls so that each runs in a thread: it calls them coroutines, but they never wait.

    As they come, a segmentation would keep everybody else from being answered. Who starts a background task of a kind
    is answered once it has begun.
    """
    for route in router.routes:
        starts = kind if "POST" in route.methods else None
        app.add_api_route(route.path, _in_thread(route.endpoint, starts), methods=sorted(route.methods))


def _in_thread(endpoint: Callable[..., Any], starts: str | None = None) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        running = endpoint(*args, **kwargs)
        try:
            running.send(None)
        except StopIteration as end:
            if starts is not None:
                from radseg.pipelines.label_server.tasks.begun import wait_until_begun

                wait_until_begun(starts)
            return end.value
        running.close()
        raise RuntimeError(f"{endpoint.__name__} waits for something; it can't run in a thread")

    call.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
    call.__name__ = endpoint.__name__
    return call


async def _serve(app: Guard, settings: Settings, listening: socket.socket, ready: Callable[[], None]) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.certificate_key,
    )
    await Server(config).serve(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the port is taken, or the address isn't this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"{host}:{port}: can't listen there ({error.strerror}); choose another --port or --host"
        ) from None
    return listening


def _end_with_parent() -> None:
    """Has the kernel stop this process when the one that started it dies, however it dies."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent or parent == 1:
        os.kill(os.getpid(), signal.SIGTERM)


def _log(settings: Settings) -> None:
    """One line a request into a file of the workspace; what MONAI Label says, which names images, nowhere."""
    folder = settings.folder / "logs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.handlers.RotatingFileHandler(folder / "server.log", maxBytes=10_000_000, backupCount=5)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    ours = logging.getLogger("radseg.label")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    ours.propagate = False
    if settings.verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    else:
        logging.getLogger().addHandler(logging.NullHandler())
        logging.raiseExceptions = False


def _end_all(number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
    """Ends this process and what MONAI Label has started; uvicorn raises the signal again when it has ended."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(128 + number)


if __name__ == "__main__":
    if main(sys.argv[1:]) == 0:
        _end_all()
    os._exit(2)  # threads that were started meanwhile don't matter
