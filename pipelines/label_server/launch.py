"""Starts the server in a process group of its own, waits until it answers, and ends the whole group on stop."""

import contextlib
import fcntl
import ipaddress
import json
import os
import select
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import radseg.bundles
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.label_server.environment import environment
from radseg.pipelines.label_server.guard.loopback import LOOPBACK
from radseg.pipelines.label_server.guard.tokens import Role, Tokens, read_or_make_key, token_file, write_secret
from radseg.pipelines.label_server.process_group import end_group
from radseg.pipelines.label_server.settings import Settings, guard_folder

__all__ = ["Server", "make_token", "start"]

WORKSPACE = "runs/label"
_READY_WITHIN_S = 300.0
_GRACE_S = 15.0
_LOOK_EVERY_S = 0.2
_TOKEN_DAYS = 30.0


class Server:
    """A server that answers; `stop` ends it and all it has started.

    Attributes:
        url: where it answers.
        pid: number of its process, which leads its group.
        token_file: file with a token of the role admin, of mode 600.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, token: Path) -> None:
        self._process = process
        self.url = url
        self.pid = process.pid
        self.token_file = token

    def ended(self) -> int | None:
        """Its exit code once it has ended by itself; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ends the server and everything it has started, gently first."""
        end_group(self._process, _GRACE_S)


def start(
    studies: str | Path,
    *,
    bundles: Sequence[str] = (),
    weights: Sequence[str] = (),
    workspace: str | Path = WORKSPACE,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    allow_remote: bool = False,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    max_upload_mb: int = 1024,
    verbose: bool = False,
) -> Server:
    """Starts an annotation server and waits until it answers.

    Args:
        studies: folder of images, or URL of a DICOMweb service.
        bundles: names of those to serve; all that have weights when empty.
        weights: `NAME=FILE`, version 1 of a bundle in a new workspace instead of what ships.
        workspace: folder for versions, tokens, log and files in transit; made if it isn't there, for this user alone.
        host: address to listen at.
        port: TCP port; 0 for any that is free.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        allow_remote: allow an address that others can reach; then `tls_cert` and `tls_key` must be given.
        tls_cert: certificate, PEM.
        tls_key: its key, PEM, without a password.
        max_upload_mb: how many MB (10^6 bytes) a file that is sent may have.
        verbose: show MONAI Label's own log, which names images.

    Raises:
        ConfigError: MONAI Label isn't installed, a bundle isn't known, or an address that isn't safe.
        InputError: the studies, a port or the workspace can't be used.
        RadsegError: what the server says of why it doesn't start.
    """
    _check_installed()
    _check_address(host, allow_remote, tls_cert, tls_key)
    names = _checked_bundles(bundles, weights)
    folder = Path(workspace).resolve()
    settings = Settings(
        studies=_checked_studies(studies),
        workspace=str(folder),
        bundles=names,
        weights=_checked_weights(weights),
        device=device,
        host=host,
        port=port,
        hosts=tuple(_names_of(host, tls_cert)),
        certificate=str(Path(tls_cert).resolve()) if tls_cert else None,
        certificate_key=str(Path(tls_key).resolve()) if tls_key else None,
        upload_bytes=max_upload_mb * 10**6,
        verbose=verbose,
    )
    with _alone(folder) as lock:
        token = _prepare(settings)
        process, found = _run(settings, lock)
    shown = f"[{host}]" if ":" in host else host
    return Server(process, f"{'https' if tls_cert else 'http'}://{shown}:{found}", token)


def wait(server: Server, stop: threading.Event | None = None) -> None:
    """Returns when `stop` is set; raises when the server ends by itself.

    Raises:
        InputError: the server has ended.
    """
    while stop is None or not stop.is_set():
        code = server.ended()
        if code is not None:
            how = f"by signal {-code}" if code < 0 else f"with code {code}"
            raise InputError(f"the server has ended {how}; start it again, what was submitted is kept")
        time.sleep(_LOOK_EVERY_S)


def make_token(role: str, file: Path, *, workspace: str | Path = WORKSPACE, days: float = _TOKEN_DAYS) -> None:
    """Writes a new token into a file of mode 600.

    Raises:
        ConfigError: the role isn't known.
        InputError: the file is there already, or can't be written.
    """
    if role.upper() not in Role.__members__:
        raise ConfigError(f"no role {role!r}: there are {', '.join(name.lower() for name in Role.__members__)}")
    if file.exists():
        raise InputError(f"{file}: is there already; name a new file")
    folder = Path(workspace).resolve()
    _private(folder)
    _private(guard_folder(folder))
    tokens = Tokens(read_or_make_key(guard_folder(folder) / "key"))
    write_secret(file, tokens.make(file.stem, Role[role.upper()], days * 86400))


def _check_installed() -> None:
    missing = [name for name in ("fastapi", "uvicorn", "monailabel") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the annotation server needs {missing[-1]}: say make label-env, or pip install 'radseg[label]' "
            "and then pip install --no-deps monailabel==0.8.5"
        )


def _check_address(host: str, allow_remote: bool, certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise ConfigError("--tls-cert and --tls-key go together; give both or none")
    if not _is_loopback(host) and not (allow_remote and certificate):
        raise ConfigError(
            f"{host} can be reached from other machines: give --allow-remote, --tls-cert FILE and --tls-key FILE, "
            "or --host 127.0.0.1"
        )
    if certificate is not None and key is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or "unreadable"
            raise ConfigError(f"{certificate}, {key}: must be PEM, and the key without password ({reason})") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names_of(host: str, certificate: Path | None) -> list[str]:
    """Names that the server answers to: this machine's for itself, and those of its certificate."""
    names = [*LOOPBACK, f"[{host}]" if ":" in host else host.lower()]
    if certificate is not None:
        from cryptography import x509

        held = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
        try:
            told = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return names
        names += [name.lower() for name in told.get_values_for_type(x509.DNSName)]
        names += [f"[{one}]" if one.version == 6 else str(one) for one in told.get_values_for_type(x509.IPAddress)]
    return names


def _checked_bundles(bundles: Sequence[str], weights: Sequence[str]) -> tuple[str, ...]:
    there = radseg.bundles.names()
    if not bundles:
        root = Path(radseg.bundles.__file__).parent
        given = {one.partition("=")[0] for one in weights}
        return tuple(name for name in there if name in given or (root / name / "models" / "model.pt").is_file())
    for name in bundles:
        if name not in there:
            raise ConfigError(f"no bundle {name!r} to serve: there are {', '.join(there)}")
    return tuple(dict.fromkeys(bundles))


def _checked_weights(weights: Sequence[str]) -> tuple[str, ...]:
    checked = []
    for one in weights:
        name, separator, file = one.partition("=")
        if not separator or name not in radseg.bundles.names() or "," in file:
            raise ConfigError(f"--weights {one!r}: must be BUNDLE=FILE, such as spine=runs/spine/model.pt")
        if not Path(file).is_file():
            raise InputError(f"{file}: no such file of weights for {name}")
        checked.append(f"{name}={Path(file).resolve()}")
    return tuple(checked)


def _checked_studies(studies: str | Path) -> str:
    text = str(studies)
    if text.startswith(("http://", "https://")):
        if shutil.which("itkimage2segimage", path=_tools()) is None:
            raise ConfigError("an archive needs itkimage2segimage of dcmqi: pip install dcmqi==1.5.7")
        if "@" in text.partition("://")[2].partition("/")[0]:
            raise ConfigError(
                "no password in a URL: set MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD instead"
            )
        return text.rstrip("/")
    folder = Path(text).resolve()
    if not folder.is_dir():
        raise InputError(f"{text}: no such folder of images; make it, or give http://HOST/dicom-web")
    return str(folder)


def _tools() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _prepare(settings: Settings) -> Path:
    """Makes the workspace and the first token; where that is."""
    folder = settings.folder
    for one in (folder, guard_folder(folder), folder / "tmp", folder / "app", folder / "logs"):
        _private(one)
    for left in (folder / "tmp").iterdir():  # of a server that was killed
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    # MONAI Label keeps a folder of tools beside the app, which must not be in the package
    shutil.copyfile(Path(__file__).parent / "app" / "main.py", folder / "app" / "main.py")
    tokens = Tokens(read_or_make_key(settings.key_file))
    file = guard_folder(folder) / "token"
    token_file(file, tokens, Role.ADMIN, _TOKEN_DAYS * 86400)
    return file


def _private(folder: Path) -> None:
    """Makes a folder that its owner alone may look into."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{folder}: can't be made ({error.strerror}); choose another --workspace") from None


@contextlib.contextmanager
def _alone(workspace: Path) -> Iterator[int]:
    """The descriptor of a lock on a workspace: whoever has it open keeps it, so the server's process does.

    Raises:
        ConfigError: another server uses the workspace.
    """
    _private(workspace)
    descriptor = os.open(workspace / ".serving.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _GRACE_S  # a server whose starter was killed may be about to end
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"{workspace}: another server uses it; stop that, or name a --workspace"
                    ) from None
                time.sleep(_LOOK_EVERY_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _run(settings: Settings, lock: int) -> tuple["subprocess.Popen[bytes]", int]:
    """The server's process and its port, once it answers."""
    file = guard_folder(settings.folder) / "settings.json"
    settings.save(file)
    reading, writing = os.pipe()
    quiet: Any = None if settings.verbose else subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "radseg.pipelines.label_server.serve", str(file), str(writing)],
            env=environment(settings, os.environ),
            cwd=settings.folder,  # MONAI Label reads a .env of the folder that it is started in
            stdin=subprocess.DEVNULL,
            stdout=quiet,
            stderr=quiet,
            pass_fds=(writing, lock),
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        word = _first_line(reading)
        told = json.loads(word) if word else {}
        if "port" in told:
            return process, told["port"]
        raise ConfigError(told.get("error") or "the server ended before it answered; -v shows its log")
    except BaseException:
        end_group(process, _GRACE_S)
        raise
    finally:
        os.close(reading)


def _first_line(reading: int) -> bytes:
    """What the server says first; nothing if it ends before."""
    deadline = time.monotonic() + _READY_WITHIN_S
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            raise InputError(f"the server didn't answer within {_READY_WITHIN_S:.0f} s; -v shows its log")
        chunk = os.read(reading, 65536)
        if not chunk:
            break
        said += chunk
    return said
