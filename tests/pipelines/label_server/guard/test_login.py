"""A browser logs in by a token and may then work from this server's own pages; clients log in their own way."""

import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from guarded import BASE, Guarded

from radseg.pipelines.label_server.guard.tokens import Role


def login(server: Guarded, **form: str) -> httpx.Response:
    return server.ask("POST", "/login", role=None, data=form, headers={"Origin": BASE})


def cookie(server: Guarded, role: Role = Role.ADMIN) -> str:
    return login(server, token=server.token(role)).headers["set-cookie"].partition(";")[0]


@pytest.fixture
def server() -> Guarded:
    return Guarded()


def test_the_viewer_sends_a_stranger_to_the_login_and_back(server: Guarded) -> None:
    wanted = "/ohif/viewer?StudyInstanceUIDs=1.2.3"
    away = server.ask("GET", wanted, role=None, headers={"Accept": "text/html"})
    assert away.status_code == 303
    asked = urlsplit(away.headers["location"])
    assert asked.path == "/login"
    page = server.ask("GET", away.headers["location"], role=None)
    assert page.status_code == 200
    assert f'value="{wanted}"' in page.text
    back = login(server, token=server.token(), next=parse_qs(asked.query)["next"][0])
    assert (back.status_code, back.headers["location"]) == (303, wanted)
    assert server.inner.seen == []


def test_a_login_lets_its_holder_look_and_work(server: Guarded) -> None:
    held = {"Cookie": cookie(server)}
    assert server.ask("GET", "/ohif/index.html", role=None, headers=held).status_code == 200
    own = {**held, "Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    assert server.ask("POST", "/train/spine", role=None, headers=own).status_code == 200


def test_a_login_has_its_tokens_role(server: Guarded) -> None:
    held = {"Cookie": cookie(server, Role.USER), "Origin": BASE}
    assert "takes the role admin" in server.refused(403, "POST", "/train/spine", role=None, headers=held)


def test_the_cookie_is_for_this_server_and_no_script(server: Guarded) -> None:
    told = login(server, token=server.token()).headers["set-cookie"]
    assert "HttpOnly" in told
    assert "SameSite=Strict" in told
    assert "Secure" not in told
    safe = Guarded(secure=True)
    told = safe.ask(
        "POST", "/login", role=None, data={"token": safe.token()}, headers={"Origin": BASE.replace("http", "https")}
    ).headers["set-cookie"]
    assert told.startswith("__Host-")
    assert "Secure" in told


def test_the_token_stands_in_no_cookie_address_or_page(server: Guarded) -> None:
    token = server.token()
    answer = login(server, token=token)
    assert token not in answer.text + str(answer.headers)
    assert token not in login(server, token=token + "x").text


def test_a_wrong_token_gives_no_cookie(server: Guarded) -> None:
    for token in ("", "x", server.token() + "x", server.tokens.make("x", Role.ADMIN, -1)):
        answer = login(server, token=token)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "site",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": BASE}, {"Origin": "http://127.0.0.1:9999"}, {},
    ],
)  # fmt: skip
def test_another_sites_page_can_change_nothing_with_the_cookie(server: Guarded, site: dict[str, str]) -> None:
    headers = {"Cookie": cookie(server), **site}
    assert "own pages" in server.refused(403, "POST", "/train/spine", role=None, headers=headers)
    assert server.ask("POST", "/login", role=None, data={"token": server.token()}, headers=site).status_code == 403


def test_another_sites_page_can_read_nothing_with_the_cookie(server: Guarded) -> None:
    headers = {"Cookie": cookie(server), "Sec-Fetch-Site": "cross-site"}
    assert "own pages" in server.refused(403, "GET", "/datastore/", role=None, headers=headers)


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/", "//evil.example", "/\\evil.example", '/ohif/"><script>', "/logout", "/ohif/\n", ""],
)
def test_the_login_leads_nowhere_but_to_the_viewer(server: Guarded, wanted: str) -> None:
    answer = login(server, token=server.token(), next=wanted)
    assert answer.headers["location"] == "/ohif/"
    page = server.ask("GET", "/login", role=None, params={"next": wanted}).text
    assert "evil" not in page
    assert "<script>" not in page


def test_logging_out_takes_the_cookie_back(server: Guarded) -> None:
    answer = server.ask("POST", "/logout", role=None, headers={"Origin": BASE})
    assert answer.status_code == 303
    assert "Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "told", ["radseg_label", "radseg_label=", "=x", "a b c", "radseg_label=x; radseg_label=y", "\xff"]
)
def test_a_cookie_that_is_none_is_refused(server: Guarded, told: str) -> None:
    assert "token" in server.refused(401, "GET", "/info/", role=None, headers={"Cookie": told.encode("latin-1")})


def test_monai_labels_clients_log_in_with_the_token_as_password(server: Guarded) -> None:
    assert server.ask("GET", "/auth/", role=None).json()["enabled"] is True
    form = {"username": "anna", "password": server.token(Role.REVIEWER), "grant_type": "password"}
    told = server.ask("POST", "/auth/token", role=None, data=form).json()
    assert told["token_type"] == "Bearer"
    who = server.ask("GET", "/auth/token/valid", token=told["access_token"]).json()
    assert who["roles"] == ["monailabel-user", "monailabel-annotator", "monailabel-reviewer"]
    server.refused(401, "POST", "/auth/token", role=None, data={**form, "password": "x"})
    server.refused(401, "GET", "/auth/token/valid", role=None)
    assert server.inner.seen == []


def test_a_login_form_without_end_is_refused(server: Guarded) -> None:
    server.refused(413, "POST", "/auth/token", role=None, content=b"x" * 100_000)
    assert json.loads(server.ask("POST", "/auth/token", role=None, content=b"\xff").text)["detail"]
