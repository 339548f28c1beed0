"""Where credentials and the read cache of stores come from: the config key `storage`, else the environment."""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError

_SECRET = re.compile(r"(account_?key|shared_?access_?(signature|key)|aws_secret_access_key|secret_?key)\s*=", re.I)
_KEYS = ("connection_string", "endpoint_url", "key", "secret", "token", "anon")
_SERVER_KEYS = ("token", "token_file", "user", "password", "ca")
_FORM = (
    f"a connection string of Azure, or a JSON object with some of {', '.join(_KEYS)}, and dicomweb: an object with "
    f"some of {', '.join(_SERVER_KEYS)} for each https://HOST:PORT"
)


@dataclass(frozen=True)
class StorageSettings:
    """What the config key `storage` holds.

    Attributes:
        credentials: file that only its owner may read (mode 600): a connection string of Azure, or a JSON object with
            some of `connection_string` (Azure) or `endpoint_url`, `key`, `secret`, `token`, `anon` (S3), and `dicomweb`
            (see `read_dicomweb_credentials`). None takes the environment: AZURE_STORAGE_CONNECTION_STRING, and for S3
            the usual chain with AWS_ENDPOINT_URL.
        cache_dir: folder of the read cache; None is `$XDG_CACHE_HOME/radseg`, else `~/.cache/radseg`.
        cache_limit_gb: size of the read cache, in 10⁹ bytes, beyond which the files used longest ago go.
    """

    credentials: Path | None = None
    cache_dir: Path | None = None
    cache_limit_gb: float = 20.0

    @property
    def cache_folder(self) -> Path:
        """Folder of the read cache."""
        if self.cache_dir is not None:
            return self.cache_dir
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "radseg"


_CURRENT = [StorageSettings()]


def use_storage(settings: Mapping[str, Any] | None = None) -> StorageSettings:
    """Makes these the settings of every store from now on; what isn't given is the default.

    Args:
        settings: the config key `storage`: `credentials`, `cache_dir`, `cache_limit_gb`; None for all defaults.

    Raises:
        ConfigError: an unknown key, no number, or a credentials file that is missing or that others may read.
    """
    given = {key: value for key, value in (settings or {}).items() if value is not None}
    known = [field.name for field in fields(StorageSettings)]
    for key in given:
        if key not in known:
            raise ConfigError(f"storage has no key {key!r}; its keys are {', '.join(known)}")
    limit = given.get("cache_limit_gb", StorageSettings.cache_limit_gb)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
        raise ConfigError(f"storage#cache_limit_gb is {limit!r}; it takes a number of gigabytes, such as 20")
    paths = {key: Path(given[key]).expanduser().absolute() for key in ("credentials", "cache_dir") if key in given}
    if "credentials" in paths:
        check_private(paths["credentials"])
    _CURRENT[0] = StorageSettings(**paths, cache_limit_gb=float(limit))
    return _CURRENT[0]


def current_storage() -> StorageSettings:
    """The settings that `use_storage` made the present ones, else the defaults."""
    return _CURRENT[0]


def check_private(file: Path) -> None:
    """Refuses a credentials file that is missing or that others than its owner may read.

    Raises:
        ConfigError: with the remedy.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"{file}: no such credentials file ({error.strerror}); write one and chmod 600 it") from error
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"{file}: holds credentials and others may read it (mode {mode:o}); chmod 600 {file}")


def read_credentials(settings: StorageSettings) -> dict[str, Any]:
    """What the credentials file holds for stores, by key; empty without a file.

    Raises:
        ConfigError: the file can't be read or isn't of a known form. Nothing of its content is told.
    """
    return {key: value for key, value in _content(settings).items() if key != "dicomweb"}


def read_dicomweb_credentials(settings: StorageSettings) -> dict[str, dict[str, str]]:
    """What the credentials file holds for DICOMweb servers: for each `https://HOST:PORT` how it is entered.

    That is a `token` or a `token_file` (a file of mode 600) for a bearer token, or `user` and `password`; and `ca`, a
    PEM file of the authority to trust instead of the public ones. Files are relative to the credentials file.

    Raises:
        ConfigError: as `read_credentials`.
    """
    file = settings.credentials
    found: dict[str, dict[str, str]] = {}
    for server, entry in _content(settings).get("dicomweb", {}).items():
        found[server] = own = dict(entry)
        for key in {"token_file", "ca"} & set(own):
            assert file is not None
            own[key] = str(file.parent / Path(own[key]).expanduser())
    return found


def _content(settings: StorageSettings) -> dict[str, Any]:
    file = settings.credentials
    if file is None:
        return {}
    check_private(file)
    try:
        text = file.read_text().strip()
        content = json.loads(text) if text.startswith("{") else {"connection_string": text}
    except (OSError, ValueError):
        raise ConfigError(f"{file}: not readable as credentials; it holds {_FORM}") from None
    dicomweb = content.get("dicomweb", {})
    plain = all(isinstance(value, str | bool) for key, value in content.items() if key != "dicomweb")
    known = set(content) <= {*_KEYS, "dicomweb"} and content.get("connection_string", "=")
    if not (plain and known and isinstance(dicomweb, dict) and all(map(_is_server, dicomweb.values()))):
        raise ConfigError(f"{file}: not of a known form; it holds {_FORM}")
    return dict(content)


def _is_server(entry: Any) -> bool:
    """Whether this is how a DICOMweb server is entered: one way at most, and nothing half."""
    if not isinstance(entry, dict) or not set(entry) <= set(_SERVER_KEYS):
        return False
    ways = sum(key in entry for key in ("token", "token_file", "user"))
    whole = all(isinstance(value, str) and value for value in entry.values())
    return whole and ways <= 1 and ("user" in entry) == ("password" in entry)


def refuse_secret(key: str, value: Any) -> None:
    """Refuses a config value that looks like a connection string, at any depth: command lines are seen by others.

    Raises:
        ConfigError: without the value.
    """
    if isinstance(value, Mapping):
        for inner in value.values():
            refuse_secret(key, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            refuse_secret(key, inner)
    elif _SECRET.search(str(value) if isinstance(value, str | Path) else ""):
        name = "an override" if _SECRET.search(key) else f"--{key}"
        raise ConfigError(
            f"{name} holds a connection string or key, which others can see there: write it into a file of mode 600 "
            "and pass --storage#credentials FILE, or set AZURE_STORAGE_CONNECTION_STRING"
        )
