"""Tokens: a role, a name and an end, signed with a key that never leaves the workspace."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from radseg.pipelines.errors import ConfigError, InputError

_MAC = hashlib.sha256
_LONGEST = 1024
_PURPOSES = ("token", "login")


class Role(IntEnum):
    """What somebody may do; each may do what those below may.

    `USER` looks, segments and submits labels, `REVIEWER` also adds images, removes labels and scores, `ADMIN` also
    trains, segments in batches, removes images and rolls back versions.
    """

    USER = 1
    REVIEWER = 2
    ADMIN = 3


@dataclass(frozen=True)
class Identity:
    """Whom a token was made for.

    Attributes:
        name: chosen when the token was made; written nowhere.
        role: what it lets do.
        ends: seconds since 1970 from which on it is refused.
    """

    name: str
    role: Role
    ends: int


class Tokens:
    """Makes tokens and tells which were made here and haven't ended.

    Args:
        key: at least 32 random bytes.
        clock: seconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        if len(key) < 32:
            raise ConfigError("the key that signs tokens is shorter than 32 bytes; delete its file, a new one is made")
        self._key = key
        self._clock = clock

    def make(self, name: str, role: Role, seconds: float, purpose: str = "token") -> str:
        """A new token that ends after `seconds`; one for another purpose isn't taken in its place."""
        content = {"n": name, "r": role.name.lower(), "e": int(self._clock() + seconds), "p": purpose}
        payload = _encode(json.dumps(content, separators=(",", ":")).encode())
        return f"{payload}.{_encode(self._sign(payload))}"

    def check(self, token: str, purpose: str = "token") -> Identity | None:
        """Whom a token is of; None if it wasn't made with this key for this purpose, was altered, or has ended."""
        if len(token) > _LONGEST or not token.isascii() or token.count(".") != 1:
            return None
        payload, _, signature = token.partition(".")
        if not hmac.compare_digest(_encode(self._sign(payload)), signature):
            return None
        content = json.loads(_decode(payload))
        identity = Identity(content["n"], Role[content["r"].upper()], content["e"])
        return identity if content["p"] == purpose and self._clock() < identity.ends else None

    def _sign(self, payload: str) -> bytes:
        return hmac.new(self._key, b"radseg label " + payload.encode(), _MAC).digest()


def read_or_make_key(file: Path) -> bytes:
    """The key in a file that its owner alone may read; made on the first call. Without it no old token is taken.

    Raises:
        ConfigError: others may read it.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_secret(file, secrets.token_hex(32))
    return bytes.fromhex(read_secret(file))


def token_file(file: Path, tokens: Tokens, role: Role, seconds: float) -> bool:
    """Sees to it that a file of mode 600 holds a valid token; whether a new one had to be made.

    Raises:
        ConfigError: others may read it.
    """
    if file.exists() and tokens.check(read_secret(file)) is not None:
        return False
    write_secret(file, tokens.make(f"{role.name.lower()} of this machine", role, seconds))
    return True


def write_secret(file: Path, text: str) -> None:
    """Writes a file that is of mode 600 from its first byte on, and whole or not there.

    Raises:
        InputError: the place can't be written.
    """
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        raise InputError(f"{file}: can't be written ({error.strerror}); name another place") from error
    finally:
        part.unlink(missing_ok=True)


def read_secret(file: Path) -> str:
    """The text of a file that its owner alone may read.

    Raises:
        ConfigError: others may read it, too.
    """
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ConfigError(f"{file}: others may read this secret; delete it, or say chmod 600 if none has")
    return file.read_text().strip()


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
