"""The secret that pseudonyms and replaced UIDs depend on: a file of the user's own, or one made when first needed."""

import os
import secrets
import tempfile
from pathlib import Path

from radseg.pipelines.errors import ConfigError

FEWEST_BYTES = 16
_BYTES = 32
_NOT_MINE = 0o077  # any right of group and world
_NOT_OURS = 0o007  # a team may share the key that it names


def read_key(path: Path | None = None) -> bytes:
    """The key's bytes.

    Args:
        path: its file; None for `~/.config/radseg/deidentify.key`, which is made if it isn't there: 32 random bytes
            that only the user may read. Runs that begin at once get the same key.

    Raises:
        ConfigError: the file can't be read or made, is too short, or others may read it: with the user's own key the
            group too.
    """
    file = own_key_file() if path is None else path
    try:
        if path is None and not file.exists():
            _make(file)
        if file.stat().st_mode & (_NOT_MINE if path is None else _NOT_OURS):
            remedy = "600" if path is None else "o-rwx"
            raise ConfigError(f"{file}: others may read this secret; run chmod {remedy} on it")
        key = file.read_bytes()
    except OSError as error:
        remedy = "name a file with at least 16 bytes" if path else "give a key file of your own"
        raise ConfigError(f"{file}: the key can't be read or made ({error.strerror}); {remedy}") from error
    return checked_key(key, str(file))


def own_key_file() -> Path:
    """Where the user's own key is."""
    return Path.home() / ".config" / "radseg" / "deidentify.key"


def checked_key(key: bytes, called: str) -> bytes:
    """The key as it is.

    Raises:
        ConfigError: it is so short that it could be guessed.
    """
    if len(key) < FEWEST_BYTES:
        raise ConfigError(
            f"{called}: {len(key)} bytes are too few for a key, at least {FEWEST_BYTES} are needed; "
            "make one with head -c 32 /dev/urandom"
        )
    return key


def _make(file: Path) -> None:
    """Writes a new key beside its place and links it there, which only the first of several can."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=file.parent)  # mode 600
    try:
        with os.fdopen(handle, "wb") as written:
            written.write(secrets.token_bytes(_BYTES))
            written.flush()
            os.fsync(written.fileno())
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
