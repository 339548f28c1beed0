"""Files in stores (Azure Blob, S3, Google, HTTP, memory) through fsspec: list, download, upload, each tried again."""

import base64
import errno
import functools
import hashlib
import importlib
import json
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from radseg.pipelines.errors import ConfigError, InputError, RadsegError
from radseg.pipelines.io.store.errors import DamagedError, Trouble, as_user_error, trouble_of
from radseg.pipelines.io.store.settings import current_storage, read_credentials
from radseg.pipelines.io.store.url import last_part, safe_name, shown

# pauses before the second, third and fourth attempt
BACKOFF_S = (0.5, 1.0, 2.0)
# a store that hasn't answered at all by then isn't tried again
PATIENCE_S = 20.0
CONNECT_S = 10.0
READ_S = 60.0

_INSTALL = {"az": "radseg[azure]", "abfs": "radseg[azure]", "abfss": "radseg[azure]", "s3": "radseg[s3]",
            "s3a": "radseg[s3]", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}  # fmt: skip
_TALKATIVE = ("fsspec", "adlfs", "azure", "s3fs", "boto3", "botocore", "aiobotocore", "aiohttp", "urllib3", "gcsfs")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_VERSIONS = ("etag", "ETag", "last_modified", "LastModified", "updated", "mtime", "created")
_MD5 = re.compile(r"[A-Za-z0-9+/]{22}==")

Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFile:
    """A file in a store, as it was when the store was asked.

    Attributes:
        url: where it is.
        name: path below the folder that was listed; its last part when the file itself was asked for.
        size: in bytes, if the store says.
        version: what changes when its content does (ETag or time); "" if the store says nothing of the kind.
        md5: of its content, if the store keeps it.
        store: which account or server it is in.
    """

    url: str
    name: str
    size: int | None
    version: str
    md5: bytes | None
    store: str

    @property
    def key(self) -> str:
        """64 hexadecimal digits that stand for this content at this URL; no other without a `version`."""
        where = shown(self.url) if self.url.startswith("http") else self.url
        told = self.version or f"{os.getpid()} {time.time_ns()}"
        return hashlib.sha256("\n".join([self.store, where, told, str(self.size)]).encode()).hexdigest()


def list_files(url: str) -> tuple[bool, list[RemoteFile]]:
    """Whether a URL is a folder (or container), and the files below it, or the one file that it is, sorted by name.

    Raises:
        InputError: there is nothing, a name in it leads out of it, or the store can't be reached.
        ConfigError: credentials are missing or wrong, or a package is missing.
    """
    store = _store_of(url)
    info = _attempts(url, "reading", lambda: _quickly(store, "info", url), patient=False)
    if info["type"] != "directory":
        return False, [_remote(url, last_part(url), info, store)]
    found = _attempts(url, "listing", lambda: store.find(url, detail=True))
    root = store._strip_protocol(url).strip("/")
    files = []
    for path, about in sorted(found.items()):
        name = path.lstrip("/").removeprefix(root).removeprefix("/")
        if about["type"] == "directory" or not name or name.endswith("/"):
            continue  # stores keep folders as empty files
        files.append(_remote(f"{url}/{safe_name(name, url)}", name, about, store))
    return True, files


def file_at(url: str) -> RemoteFile:
    """The file at a URL; raises as `list_files`, and InputError for a folder."""
    folder, files = list_files(url)
    if folder:
        raise InputError(f"{shown(url)}: is a folder; give a file")
    return files[0]


def download(remote: RemoteFile, target: Path) -> None:
    """Writes a file's content to `target`, a new local file that is gone again if this fails.

    Raises:
        InputError: the connection was lost every time, the content isn't what the store says, or no space is left.
        ConfigError: as `list_files`.
    """
    store = _store_of(remote.url)

    def get() -> None:
        try:
            store.get_file(store._strip_protocol(remote.url), str(target))
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise _no_space(target.parent, error) from None
            raise
        size = target.stat().st_size
        if remote.size is not None and size != remote.size:
            raise DamagedError
        if remote.md5 is not None and _md5(target) != remote.md5:
            raise DamagedError

    try:
        _attempts(remote.url, "downloading", get)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def upload(file: Path, url: str) -> None:
    """Puts a whole local file at a URL; stores show it there only when it is complete.

    Raises:
        InputError: the store can't be reached or doesn't take it.
        ConfigError: as `list_files`.
    """
    store = _store_of(url)
    _attempts(url, "writing", lambda: store.put_file(str(file), store._strip_protocol(url)))


def remove(url: str) -> None:
    """Deletes the file at a URL; it may be gone already. Raises as `upload`."""
    store = _store_of(url)

    def rm() -> None:
        try:
            store.rm_file(store._strip_protocol(url))
        except Exception as error:
            if trouble_of(error) is not Trouble.MISSING:
                raise

    _attempts(url, "deleting", rm)


def _attempts(url: str, what: str, action: Callable[[], Result], *, patient: bool = True) -> Result:
    """The result of an action that is tried again when what went wrong may pass."""
    start = time.monotonic()
    for number, pause in enumerate([*BACKOFF_S, None], start=1):
        try:
            return action()
        except RadsegError:
            raise
        except Exception as error:
            gone_on = time.monotonic() - start
            if pause is None or not trouble_of(error).may_pass or not (patient or gone_on < PATIENCE_S):
                # not "from error": its text may hold the URL's query or a key
                raise as_user_error(error, url, what, number) from None
            time.sleep(pause)
    raise AssertionError


def _quickly(store: Any, method: str, url: str) -> Any:
    limit = {"timeout": PATIENCE_S} if store.async_impl else {}
    return getattr(store, method)(store._strip_protocol(url), **limit)


def _store_of(url: str) -> Any:
    """The fsspec file system of a URL, with the present credentials."""
    scheme = url.partition("://")[0]
    options = _options(scheme, read_credentials(current_storage()))
    account = re.search(r"([^@/]+)\.(?:dfs|blob)\.core\.windows\.net", url) if scheme.startswith("a") else None
    if account and "connection_string" not in options:
        options["account_name"] = account[1]
    return _made(scheme, json.dumps(options, sort_keys=True))


def _options(scheme: str, credentials: dict[str, Any]) -> dict[str, Any]:
    if scheme in ("az", "abfs", "abfss"):
        text = credentials.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
        return {"connection_string": text} if text else {}
    if scheme in ("s3", "s3a"):
        server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        own = {key: value for key, value in credentials.items() if key != "connection_string"}
        return own if server is None else {"endpoint_url": server, **own}
    return {}


@functools.lru_cache(maxsize=32)
def _made(scheme: str, options_json: str) -> Any:
    options = json.loads(options_json)
    for name in _TALKATIVE:  # they log URLs with their queries, and headers
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        kind = importlib.import_module("fsspec").get_filesystem_class(scheme)
        if scheme in ("http", "https"):
            aiohttp = importlib.import_module("aiohttp")
            limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
            options["client_kwargs"] = {"timeout": limits, "headers": {"Accept-Encoding": "identity"}}
    except ImportError:
        raise ConfigError(
            f"{scheme}:// needs a package that isn't installed: pip install {_INSTALL.get(scheme, scheme)}"
        ) from None
    except ValueError:
        raise ConfigError(f"{scheme}:// is no store that is known; there are {', '.join(_INSTALL)}") from None
    if scheme in ("s3", "s3a"):
        quick = {"connect_timeout": CONNECT_S, "read_timeout": READ_S, "retries": {"max_attempts": 1}}
        options["config_kwargs"] = quick
    try:
        store = kind(**options, use_listings_cache=False, skip_instance_cache=True)
        if "connection_string" in options:
            # adlfs leaves no say in Azure's own retries, which wait 15 seconds and more
            client = importlib.import_module("azure.storage.blob.aio").BlobServiceClient
            store.service_client = client.from_connection_string(
                options["connection_string"], retry_total=0, connection_timeout=CONNECT_S, read_timeout=READ_S
            )
    except Exception as error:
        how = "with these" if options else "without"
        raise ConfigError(
            f"{scheme}:// can't be opened {how} credentials ({type(error).__name__}): pass --storage#credentials FILE "
            "with a whole connection string, or set AZURE_STORAGE_CONNECTION_STRING"
        ) from None
    return store


def _remote(url: str, name: str, info: dict[str, Any], store: Any) -> RemoteFile:
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    settings = info.get("content_settings")
    md5 = settings.get("content_md5") if settings else info.get("md5Hash")
    if isinstance(md5, str):
        md5 = base64.b64decode(md5) if _MD5.fullmatch(md5) else None
    client = getattr(store, "service_client", None)
    server = shown(client.url) if client else str(getattr(store, "endpoint_url", None) or "")
    return RemoteFile(url, name, info.get("size"), version, bytes(md5) if md5 else None, server)


def _md5(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, functools.partial(hashlib.md5, usedforsecurity=False)).digest()


def _no_space(folder: Path, error: OSError) -> InputError:
    return InputError(f"{folder}: can't be written ({error.strerror}); free some space or set --storage#cache_dir DIR")
