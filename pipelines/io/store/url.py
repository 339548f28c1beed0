"""What is a URL of a store and what is a path; how a URL is shown, so that nothing secret in it is told."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit

from radseg.pipelines.errors import InputError

# a single letter is a drive of Windows
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
# `Path("az://container")` is az:/container: one slash is read as two for the stores that people have
_KNOWN = ("az", "abfs", "abfss", "s3", "s3a", "gs", "gcs", "http", "https", "memory", "file", "dicomweb+http",
          "dicomweb+https")  # fmt: skip
_ONE_SLASH = re.compile(rf"({'|'.join(_KNOWN)}):/(?!/)(.*)", re.DOTALL)


def is_url(value: object) -> bool:
    """Whether a text is a URL such as `az://container/folder`; a path, `C:/data` and `C:\\data` aren't."""
    return isinstance(value, str) and _URL.fullmatch(value) is not None


def is_remote(value: str | Path) -> bool:
    """Whether a path or URL lies in a store, so that it has to be fetched or uploaded to."""
    return isinstance(place(value), str)


def place(value: str | Path) -> Path | str:
    """A local path, or the URL of a store in its plain form (no double or trailing slashes).

    `file://` is a path. A URL that went through `Path` and lost a slash is put right.
    """
    match = _URL.fullmatch(str(value)) or _ONE_SLASH.fullmatch(str(value))
    if match is None:
        return Path(value)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return Path("/" + rest.lstrip("/"))
    if scheme in ("http", "https"):
        return f"{scheme}://{rest}"
    return f"{scheme}://" + re.sub("/+", "/", rest).strip("/")


def absolute(value: str | Path) -> str:
    """The URL as `place` gives it, or the absolute path."""
    where = place(value)
    return where if isinstance(where, str) else str(where.absolute())


def child(folder: str | Path, name: str) -> Path | str:
    """A file or folder below a folder, either of which may be a URL; a `name` that is one itself stays as it is.

    Raises:
        InputError: the name would lead out of a remote folder.
    """
    if is_url(name):
        return place(name)
    where = place(folder)
    if isinstance(where, Path):
        return where / name
    return f"{where}/{safe_name(PurePosixPath(name).as_posix(), where)}"


def last_part(url: str) -> str:
    """The name of the file, folder or container at a URL; stores have no queries, servers do."""
    path = url.partition("?")[0] if url.startswith("http") else url
    return path.rpartition("/")[2]


def shown(url: str) -> str:
    """The URL without its query, fragment and password, which may hold keys and tokens."""
    parts = urlsplit(url)
    server = parts.netloc
    if ":" in server.rpartition("@")[0]:
        server = server.rpartition("@")[2]
    return f"{parts.scheme}://{server}{parts.path}"


def safe_name(name: str, url: str) -> str:
    """The relative name of a file in a store, if it can be kept as a file below a local folder.

    Raises:
        InputError: it is absolute, has a drive, or `..` or an empty part in it.
    """
    parts = name.split("/")
    windows = PureWindowsPath(name)
    if "\\" in name or "\0" in name or windows.drive or windows.root or {"", ".", ".."} & set(parts):
        raise InputError(f"{shown(url)}: the name {name!r} in it leads out of the folder or is no file name; rename it")
    return name
