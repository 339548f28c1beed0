"""How a DICOMweb server is reached: credentials, TLS, patience with what may pass, and what troubles mean."""

import importlib
import ipaddress
import json
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from radseg.pipelines.errors import ConfigError, InputError, RadsegError
from radseg.pipelines.io.pacs.dicomweb_url import PREFIX, DicomwebUrl, origin_of
from radseg.pipelines.io.pacs.multipart import CutOffError
from radseg.pipelines.io.store.settings import (
    StorageSettings,
    check_private,
    current_storage,
    read_dicomweb_credentials,
)

AT_ONCE = 4
"""Connections to a server at a time."""
CONNECT_S = 10.0
READ_S = 60.0

# they log URLs with their queries, in which a patient may be named
_TALKATIVE = ("urllib3", "requests")
_REMEDY = 'check its entry under "dicomweb" in the file of --storage#credentials (mode 600)'

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long what may pass (lost connections, HTTP 408, 429 and 5xx, answers cut off) is tried again.

    Attributes:
        total_s: no attempt at one request begins later than this after the first failed.
        first_s: pause before the second attempt; each later one is twice as long, up to `longest_s`.
        longest_s: the longest pause, unless the server names one with Retry-After.
        sleep, clock: of the time module.
    """

    total_s: float = 60.0
    first_s: float = 0.5
    longest_s: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class RefusedError(InputError):
    """A server doesn't give this one thing (HTTP 403, 404, 410)."""


class GoneError(InputError):
    """A server couldn't be reached for as long as patience lasts, or says itself that it doesn't work."""


class Attempts:
    """Tries requests to one server again; safe to share between threads.

    Args:
        where: the server as it is told to users; every message begins with it.
        patience: how long.
    """

    def __init__(self, where: str, patience: Patience) -> None:
        self.where = where
        self.patience = patience

    def __call__(self, what: str, action: Callable[[], Result]) -> Result:
        """The result of an action, such as "listing studies", that talks to the server.

        Raises:
            GoneError: the server can't be reached or is down.
            RefusedError: it doesn't give this.
            InputError: it failed in another way, every time.
            ConfigError: credentials or TLS certificate are wrong.
        """
        since: float | None = None  # the first failure: a long download that breaks off is tried again, too
        pause, number = self.patience.first_s, 0
        while True:
            number += 1
            try:
                return action()
            except RadsegError:
                raise
            except Exception as error:
                now = self.patience.clock()
                since = now if since is None else since
                _, may_pass, asked_s = _judged(error)
                wait = pause if asked_s is None else max(asked_s, self.patience.first_s)
                if not may_pass or now + wait - since > self.patience.total_s:
                    # not "from error": its text may hold a query
                    raise self._line(error, what, number) from None
            self.patience.sleep(wait)
            pause = min(2 * pause, self.patience.longest_s)

    def _line(self, error: Exception, what: str, number: int) -> RadsegError:
        """What the user is told, without a word of the error's own."""
        status, may_pass, _ = _judged(error)
        start = f"{self.where}: {what} failed"
        times = f" ({number} attempts)" if number > 1 else ""
        if _has(error, ssl.SSLCertVerificationError):
            remedy = f'give the PEM file of its authority as "ca" and {_REMEDY}'
            return ConfigError(f"{start}: the server's TLS certificate isn't trusted; {remedy}")
        if status == 401:
            return ConfigError(f"{start}: the server refuses access (HTTP 401); {_REMEDY}")
        if status in (403, 404, 410):
            reason = "you may not have it" if status == 403 else "there is no such thing"
            return RefusedError(f"{start}: {reason} (HTTP {status}); check the address and the rights")
        if status == 429:
            return GoneError(f"{start}: the server is too busy (HTTP 429){times}; start again later")
        if status is not None and may_pass:
            kind = GoneError if status in (502, 503, 504) else InputError
            return kind(f"{start}: the server failed (HTTP {status}){times}; look at its log, then start again")
        if status is not None:
            return InputError(f"{start}: the server doesn't take the request (HTTP {status}); check the address")
        if not may_pass:
            kind_said = type(error).__name__
            return InputError(f"{start}: the answer isn't DICOMweb's ({kind_said}); check the path of the service")
        if _has(error, *_unreachable()):
            remedy = "check the address, that it runs, and the network, then start again"
            return GoneError(f"{start}: the server can't be reached{times}; {remedy}")
        return InputError(f"{start}: the answer was cut off or damaged{times}; look at the server, then start again")


def open_session(url: DicomwebUrl, settings: StorageSettings | None = None) -> Any:
    """A `requests.Session` for the server of a URL, with the present credentials; TLS is verified always.

    Raises:
        ConfigError: credentials of a wrong form, over plain http to another machine, or an unreadable CA file.
    """
    requests = importlib.import_module("requests")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    entry = _entry(url.origin, settings or current_storage())
    session = requests.Session()
    local = _is_loopback(url.origin)
    # not from the environment: ~/.netrc would be sent, and REQUESTS_CA_BUNDLE win over the given authority
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    session.proxies = {} if local else requests.utils.get_environ_proxies(url.base)
    session.verify = _authority(entry["ca"], url) if "ca" in entry else True
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    if {"token", "token_file", "user"} & set(entry):
        if url.base.startswith("http:") and not local:
            raise ConfigError(f"{PREFIX}{url.origin}: credentials aren't sent over plain http; give {PREFIX}https://")
        if "user" in entry:
            session.auth = entry["user"].encode(), entry["password"].encode()
        else:
            session.headers["Authorization"] = f"Bearer {_token(entry)}"
    return session


def timeouts() -> tuple[float, float]:
    """Seconds for connecting, and between two pieces of an answer."""
    return CONNECT_S, READ_S


def _judged(error: Exception) -> tuple[int | None, bool, float | None]:
    """The HTTP status, whether trying again may help, and the pause in seconds that the server asks for."""
    exceptions = importlib.import_module("requests").exceptions
    response = getattr(error, "response", None)
    if isinstance(error, exceptions.HTTPError) and response is not None:
        status = int(response.status_code)
        passes = status in (408, 425, 429) or (status >= 500 and status not in (501, 505))
        return status, passes, _retry_after(response.headers.get("Retry-After"))
    if isinstance(error, json.JSONDecodeError):
        return None, error.doc.lstrip()[:1] in ("[", "{"), None  # cut off, while a page of HTML is another service's
    if _has(error, ssl.SSLCertVerificationError):
        return None, False, None
    lost = (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError, CutOffError)
    return None, isinstance(error, lost), None


def _retry_after(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _unreachable() -> tuple[type[BaseException], ...]:
    exceptions = importlib.import_module("urllib3.exceptions")
    return exceptions.NewConnectionError, exceptions.ConnectTimeoutError


def _has(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether an exception, one that it came from, or one that it carries is of these kinds."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, kinds):
            return True
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False


def _entry(origin: str, settings: StorageSettings) -> dict[str, str]:
    for server, entry in read_dicomweb_credentials(settings).items():
        if origin_of(server.lower()) == origin and origin:
            return entry
    return {}


def _authority(file: str, url: DicomwebUrl) -> str:
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"{file}: no PEM file of a certificate authority; check the entry of {url.origin}") from None
    return file


def _token(entry: dict[str, str]) -> str:
    token = entry.get("token", "")
    if "token_file" in entry:
        file = Path(entry["token_file"])
        check_private(file)
        try:
            token = file.read_text().strip()
        except (OSError, ValueError):
            raise ConfigError(f"{file}: not readable as a token; write the token alone into it") from None
    if not token or not token.isascii() or any(letter.isspace() for letter in token):
        raise ConfigError("the token of a DICOMweb server is empty or holds spaces; " + _REMEDY)
    return token


def _is_loopback(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
