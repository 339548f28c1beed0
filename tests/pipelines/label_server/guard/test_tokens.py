"""A token is taken until it ends, and only where it was made; no secret is anybody else's to read."""

import base64
import json
import stat
from pathlib import Path

import pytest

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.label_server.guard.tokens import (
    Role,
    Tokens,
    read_or_make_key,
    token_file,
    write_secret,
)

KEY = bytes(range(32))


def test_a_token_says_whose_it_is_until_it_ends() -> None:
    now = [1000.0]
    tokens = Tokens(KEY, clock=lambda: now[0])
    token = tokens.make("anna", Role.REVIEWER, 60)
    identity = tokens.check(token)
    assert identity is not None
    assert (identity.name, identity.role, identity.ends) == ("anna", Role.REVIEWER, 1060)
    now[0] = 1060.0
    assert tokens.check(token) is None


def test_a_token_of_another_key_is_refused() -> None:
    token = Tokens(KEY).make("anna", Role.USER, 60)
    assert Tokens(KEY[::-1]).check(token) is None


def test_a_token_with_a_better_role_written_into_it_is_refused() -> None:
    tokens = Tokens(KEY)
    payload, _, signature = tokens.make("anna", Role.USER, 60).partition(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=="))
    content["r"] = "admin"
    forged = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
    assert tokens.check(f"{forged}.{signature}") is None
    assert tokens.check(f"{payload}.{signature}") is not None


@pytest.mark.parametrize("change", range(0, 40, 7))
def test_any_changed_character_makes_a_token_worthless(change: int) -> None:
    tokens = Tokens(KEY)
    token = tokens.make("anna", Role.USER, 60)
    spoilt = token[:change] + ("A" if token[change] != "A" else "B") + token[change + 1 :]
    assert tokens.check(spoilt) is None


@pytest.mark.parametrize("token", ["", ".", "a", "a.b", "a.b.c", "é.é", "." * 500, "x" * 5000, "e30.", "null.null"])
def test_what_is_no_token_is_refused_without_a_fuss(token: str) -> None:
    assert Tokens(KEY).check(token) is None


def test_a_login_is_no_token_and_a_token_no_login() -> None:
    tokens = Tokens(KEY)
    assert tokens.check(tokens.make("anna", Role.USER, 60, purpose="login")) is None
    assert tokens.check(tokens.make("anna", Role.USER, 60), purpose="login") is None


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "guard" / "key"
    key = read_or_make_key(file)
    assert len(key) == 32
    assert read_or_make_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["key"]


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "key"
    read_or_make_key(file)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read this secret"):
        read_or_make_key(file)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="shorter than 32 bytes"):
        Tokens(b"short")


def test_a_token_file_is_kept_while_it_is_valid_and_made_anew_after(tmp_path: Path) -> None:
    now = [1000.0]
    tokens = Tokens(KEY, clock=lambda: now[0])
    file = tmp_path / "token"
    assert token_file(file, tokens, Role.ADMIN, 60)
    first = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not token_file(file, tokens, Role.ADMIN, 60)
    assert file.read_text() == first
    now[0] = 2000.0
    assert token_file(file, tokens, Role.ADMIN, 60)
    assert file.read_text() != first


def test_a_secret_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "there is a folder"
    folder.mkdir()
    with pytest.raises(InputError, match="can't be written"):
        write_secret(folder, "x")
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]
