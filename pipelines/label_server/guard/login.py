"""Logging in: a page that takes a token and gives a cookie for the viewer, and the calls that clients know."""

import html
import json
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers

from radseg.pipelines.label_server.guard.tokens import Identity, Tokens
from radseg.pipelines.label_server.refused import Refused

_LASTS_S = 12 * 3600
_NEXT = "/ohif/"
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>radseg: log in</title>
<style>body{{font:16px sans-serif;max-width:32em;margin:4em auto;padding:0 1em}}input{{width:100%;padding:.5em;
box-sizing:border-box;margin:.5em 0}}p.bad{{color:#b00020}}</style>
<h1>Annotation server</h1>{line}
<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button></form><p>The one who started the server has it in a file. Not a medical device.</p></html>"""


class Login:
    """Cookies and the answers of `/login`, `/logout` and `/auth`.

    Args:
        tokens: makes and checks them.
        secure: whether the server speaks TLS; then cookies never go without.
    """

    def __init__(self, tokens: Tokens, secure: bool) -> None:
        self.tokens = tokens
        self._secure = secure
        self.cookie_name = "__Host-radseg_label" if secure else "radseg_label"

    def page(self, wanted: str = _NEXT, refused: bool = False) -> bytes:
        """The page that asks for a token."""
        line = '<p class="bad">This token was not made here, or has ended.</p>' if refused else ""
        return _PAGE.format(line=line, next=html.escape(_own_place(wanted), quote=True)).encode()

    def cookie_of(self, token: str) -> str | None:
        """The `Set-Cookie` for somebody who holds a token; None if it isn't valid."""
        identity = self.tokens.check(token.strip())
        if identity is None:
            return None
        login = self.tokens.make(identity.name, identity.role, _LASTS_S, purpose="login")
        return self._set(login, _LASTS_S)

    def ended(self) -> str:
        """The `Set-Cookie` that forgets a login."""
        return self._set("", 0)

    def identity(self, headers: Headers) -> tuple[Identity | None, bool]:
        """Who asks, and whether a cookie says so; a request with a token is judged by that alone."""
        told = headers.getlist("authorization")
        if told:
            kind, _, token = told[0].partition(" ")
            valid = len(told) == 1 and kind.lower() == "bearer"
            return (self.tokens.check(token.strip()) if valid else None), False
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load("; ".join(headers.getlist("cookie")))
        except CookieError:
            return None, True
        found = cookies.get(self.cookie_name)
        return (self.tokens.check(found.value, purpose="login") if found else None), True

    def auth_token(self, body: bytes) -> bytes:
        """What MONAI Label's clients get for a user name and a password, which is the token.

        Raises:
            Refused: 401.
        """
        fields = _fields(body)
        token = fields.get("password", "").strip()
        if self.tokens.check(token) is None:
            raise Refused(401, "the password is a token of this server; any user name will do")
        return json.dumps({"access_token": token, "token_type": "Bearer"}).encode()

    def _set(self, value: str, seconds: int) -> str:
        secure = "; Secure" if self._secure else ""
        return f"{self.cookie_name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def enabled() -> bytes:
    """Says to MONAI Label's clients that they must log in."""
    return json.dumps({"enabled": True, "client_id": "radseg", "realm": "radseg"}).encode()


def who(identity: Identity) -> bytes:
    """What a client may know of its own token."""
    roles = [f"monailabel-{role}" for role in _monai_roles(identity)]
    user: dict[str, Any] = {"username": identity.name, "email": None, "name": identity.name, "roles": roles}
    return json.dumps(user).encode()


def token_and_next(body: bytes) -> tuple[str, str]:
    """Token and place to go to of the page's form."""
    fields = _fields(body)
    return fields.get("token", ""), _own_place(fields.get("next", _NEXT))


def _monai_roles(identity: Identity) -> list[str]:
    return ["user", "annotator", "reviewer", "admin"][: identity.role + 1]


def _fields(body: bytes) -> dict[str, str]:
    try:
        return {key: values[-1] for key, values in parse_qs(body.decode(), max_num_fields=8).items()}
    except ValueError:
        return {}


def _own_place(wanted: str) -> str:
    """A place of the viewer's; anything else becomes its start."""
    plain = wanted.isascii() and wanted.isprintable() and not set(wanted) & set("\\ \"'<>")
    return wanted if plain and wanted.startswith(_NEXT) and len(wanted) < 1024 else _NEXT
