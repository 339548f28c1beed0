"""Nothing reaches the server but what the table of routes allows, asked by somebody who may."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from guarded import Guarded

from radseg.pipelines.label_server.guard.bodies import Transit
from radseg.pipelines.label_server.guard.routes import routes
from radseg.pipelines.label_server.guard.tokens import Role
from radseg.pipelines.label_server.refused import Refused

MASK = {"label": ("mask.nii.gz", b"0" * 100, "application/gzip")}
IMAGE = {"file": ("new.nii.gz", b"0" * 100)}


@pytest.fixture
def server() -> Guarded:
    return Guarded()


def test_what_is_allowed_goes_through_word_for_word(server: Guarded) -> None:
    answer = server.ask("POST", "/infer/spine?image=case%201&output=image", data={"params": '{"device": "cpu"}'})
    assert answer.status_code == 200
    (seen,) = server.inner.seen
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/infer/spine", "image=case+1&output=image")
    assert b"device" in seen["body"]
    assert int(seen["headers"]["content-length"]) == len(seen["body"])


def test_credentials_and_foreign_headers_stay_outside(server: Guarded) -> None:
    server.ask("GET", "/info/", headers={"Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "X-Anything": "1"})
    assert set(server.inner.seen[0]["headers"]) <= {"host", "accept"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/info/", "/datastore/", "/ohif/", "/logs/", "/docs", "/openapi.json", "/static/x", "/nowhere", "/reload"]
)
def test_without_a_token_nothing_answers(server: Guarded, method: str, path: str) -> None:
    line = server.refused(401, method, path, role=None)
    assert "token" in line


def test_a_refusal_says_how_to_ask(server: Guarded) -> None:
    assert server.ask("GET", "/info/", role=None).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "told",
    ["Bearer", "Bearer ", "Bearer x.y", "Basic YWRtaW46YWRtaW4=", "Token {}", "{}", "bearer {} {}", "Bearer {}x"],
)
def test_a_forged_token_is_refused(server: Guarded, told: str) -> None:
    headers = {"Authorization": told.replace("{}", server.token())}
    assert "token" in server.refused(401, "GET", "/info/", role=None, headers=headers)


def test_an_expired_token_is_refused() -> None:
    now = [1000.0]
    server = Guarded(clock=lambda: now[0])
    token = server.token(seconds=60)
    assert server.ask("GET", "/info/", token=token).status_code == 200
    now[0] = 1061.0
    assert "token" in server.refused(401, "GET", "/info/", token=token)


def test_a_login_cookie_of_another_server_is_refused(server: Guarded) -> None:
    assert "token" in server.refused(401, "GET", "/info/", role=None, headers={"Cookie": "radseg_label=e30.e30"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/logs/"), ("GET", "/logs/gpu"), ("POST", "/reload"), ("GET", "/docs"), ("GET", "/openapi.json"),
        ("GET", "/static/ohif/index.html"),
        ("GET", "/model/spine"), ("PUT", "/model/spine"), ("DELETE", "/model/spine"),
        ("GET", "/model/info/spine"), ("POST", "/infer/wsi/spine"), ("POST", "/infer/wsi_v2/spine"),
        ("POST", "/proxy/dicom/stow/studies"), ("POST", "/proxy/dicom/wado/studies"), ("GET", "/proxy/dicom/studies"),
        ("PUT", "/datastore/updatelabelinfo"), ("POST", "/scoring/"), ("TRACE", "/info/"),
        ("OPTIONS", "/info/"), ("GET", "/info"), ("GET", "//info/"), ("GET", "/INFO/"), ("GET", "/info/%00"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_table_does_not_exist(server: Guarded, method: str, path: str) -> None:
    answer = server.ask(method, path)
    assert answer.status_code in (400, 404, 405)
    assert set(answer.json()) == {"detail"}
    assert server.inner.seen == []


ALLOWED_TO = {
    Role.USER: [("GET", "/info/"), ("POST", "/activelearning/random"), ("GET", "/train/"), ("GET", "/ohif/index.html")],
    Role.REVIEWER: [("DELETE", "/datastore/label?id=ct_2&tag=final"), ("POST", "/scoring/dice")],
    Role.ADMIN: [
        ("POST", "/train/spine"), ("DELETE", "/train/"), ("POST", "/batch/infer/spine"),
        ("DELETE", "/datastore/?id=ct_2"),
        ("POST", "/radseg/versions/spine/rollback?to=1"), ("GET", "/datastore/dataset"), ("DELETE", "/batch/infer"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("needs", "what"), [(needs, what) for needs, each in ALLOWED_TO.items() for what in each])
def test_each_role_may_do_its_own_and_what_lesser_ones_may(
    server: Guarded, role: Role, needs: Role, what: tuple[str, str]
) -> None:
    method, path = what
    if role >= needs:
        assert server.ask(method, path, role=role).status_code == 200
    else:
        assert needs.name.lower() in server.refused(403, method, path, role=role)


def test_every_way_to_change_the_servers_models_or_images_wants_more_than_a_user() -> None:
    for route in routes():
        changes = route.method in ("PUT", "POST", "DELETE")
        users_own = route.pattern in ("/infer/{model}", "/activelearning/{strategy}", "/datastore/label") or (
            route.pattern.startswith("/session/")
        )
        if changes and not (users_own and route.method != "DELETE") and not route.pattern.startswith("/session/"):
            assert route.role > Role.USER, route.pattern


OUTSIDE = [
    "../x",
    "..",
    "/etc/passwd",
    "a/../../x",
    "..\\x",
    "C:\\x",
    "x\0y",
    ".hidden",
    "a\nb",
    "%2e%2e%2fx",
    "x" * 300,
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    ("method", "path", "key", "others", "request_"),
    [
        ("POST", "/infer/spine", "image", {}, {}),
        ("GET", "/datastore/image", "image", {}, {}),
        ("HEAD", "/datastore/image", "image", {}, {}),
        ("PUT", "/datastore/image", "image", {}, {"files": IMAGE}),
        ("PUT", "/datastore/", "image", {}, {"files": IMAGE}),
        ("DELETE", "/datastore/image", "id", {}, {}),
        ("PUT", "/datastore/label", "image", {}, {"files": MASK}),
        ("PUT", "/datastore/label", "tag", {"image": "ct_2"}, {"files": MASK}),
        ("GET", "/datastore/label", "label", {"tag": "final"}, {}),
        ("GET", "/datastore/label", "tag", {"label": "ct_2"}, {}),
        ("DELETE", "/datastore/label", "tag", {"id": "ct_2"}, {}),
        ("DELETE", "/datastore/label", "id", {"tag": "final"}, {}),
        ("POST", "/infer/spine", "session_id", {}, {}),
    ],
)
def test_no_id_or_tag_is_a_way_out(
    server: Guarded, name: str, method: str, path: str, key: str, others: dict[str, str], request_: dict[str, Any]
) -> None:
    answer = server.ask(method, path, params={**others, key: name}, **request_)
    assert answer.status_code in (400, 404)
    assert server.inner.seen == []


@pytest.mark.parametrize(
    "path", ["/session/..", "/session/%2e%2e", "/session/a%2fb", "/train/..%2f..", "/infer/%2e%2e"]
)
def test_no_path_is_a_way_out(server: Guarded, path: str) -> None:
    method = "GET" if path.startswith("/session") else "POST"
    assert server.ask(method, path).status_code in (400, 404, 405)
    assert server.inner.seen == []


@pytest.mark.parametrize("rest", ["../x", "a/../../x", "..%2f..%2fetc/passwd", "%2e%2e/x", "a\\..\\b", "a%0ab"])
def test_the_viewers_files_and_the_archives_studies_go_down_only(server: Guarded, rest: str) -> None:
    for base in ("/ohif/", "/proxy/dicom/wado/", "/proxy/dicom/qido/"):
        scope_path = base + rest
        assert server.ask("GET", scope_path).status_code in (400, 404)
    assert server.inner.seen == []


def test_an_image_must_be_listed(server: Guarded) -> None:
    assert "not in the datastore" in server.refused(404, "POST", "/infer/spine?image=unlisted")


def test_an_unknown_model_is_named_with_the_nearest(server: Guarded) -> None:
    assert "did you mean lung_xray?" in server.refused(404, "POST", "/infer/lung_xry?image=ct_2")
    assert "there are lung_xray, spine" in server.refused(404, "POST", "/train/x")


def test_segmenting_wants_exactly_one_image(server: Guarded) -> None:
    assert "one of them" in server.refused(400, "POST", "/infer/spine")
    assert "one of them" in server.refused(400, "POST", "/infer/spine?image=ct_2", files=IMAGE)
    assert server.ask("POST", "/infer/spine", files=IMAGE).status_code == 200


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("image=ct_2&image=case%201", "a key stands there twice"),
        ("image=ct_2&path=/etc", "key 'path' is not taken"),
        ("image=ct_2&x=1;y=2", "key 'x' is not taken"),
        ("image=%ff", "isn't KEY=VALUE"),
        ("image", "isn't KEY=VALUE"),
        ("&&&", "isn't KEY=VALUE"),
    ],
)
def test_a_query_is_unambiguous_and_holds_allowed_keys_only(server: Guarded, query: str, told: str) -> None:
    assert told in server.refused(400, "POST", f"/infer/spine?{query}")


CODE = ["$print(1)", "@network", "%train", " $x", "$<python>"]


@pytest.mark.parametrize("value", CODE)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"a": [{"b": x}]}, lambda x: {x: 1}])
def test_no_value_is_code(server: Guarded, value: str, wrap: Any) -> None:
    for path, key in (("/train/spine", "client_id"), ("/train/spine", "device"), ("/batch/infer/spine", "gpus")):
        assert "are code and not taken" in server.refused(400, "POST", path, json={key: wrap(value)})
    params = {"params": json.dumps({"label_info": wrap(value)})}
    assert "are code and not taken" in server.refused(400, "POST", "/infer/spine?image=ct_2", data=params)


@pytest.mark.parametrize(
    "params",
    [
        {"network_def#features": [1]}, {"dataset_dir": "/"}, {"max_epochs": 0}, {"max_epochs": 1.5},
        {"max_epochs": "x"},
        {"max_epochs": True}, {"max_epochs": 10**9}, {"val_split": -1}, {"val_split": 1.0}, {"device": "tpu"},
        {"device": "cuda:99"}, {"device": "cpu;rm"}, {"device": 0}, {"device": None}, {"bundle_path": "/x"},
        {"gpus": "all"},
        {"model": "other"}, {"client_id": "x" * 300}, {"client_id": "a\nb"}, {"client_id": {"a": 1}},
        {"train_ds": "/x"},
    ],
)  # fmt: skip
def test_training_takes_its_own_keys_in_their_range(server: Guarded, params: dict[str, Any]) -> None:
    line = server.refused(404 if params == {"model": "other"} else 400, "POST", "/train/spine", json=params)
    assert next(iter(params)).partition("#")[0][:5] in line


def test_a_misspelt_key_is_told_the_nearest(server: Guarded) -> None:
    assert "did you mean max_epochs?" in server.refused(400, "POST", "/train/spine", json={"max_epoch": 3})


def test_the_application_gets_json_as_it_was_checked(server: Guarded) -> None:
    body = b' {"max_epochs" : 3, "client_id": null} '
    assert server.ask("POST", "/train/spine", content=body).status_code == 200
    (seen,) = server.inner.seen
    assert json.loads(seen["body"]) == {"max_epochs": 3, "client_id": None}
    assert seen["headers"]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "isn't JSON"),
        (b"\xff\xfe", "isn't JSON"),
        (b"[" * 100_000, "isn't JSON"),
        (b"[]", "must be a JSON object"),
        (b"1", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"max_epochs":1,"max_epochs":2}', "a key stands there twice"),
        (b'{"val_split":NaN}', "NaN is no number of JSON"),
        (b'{"val_split":Infinity}', "Infinity is no number of JSON"),
        (b'{"val_split":1e999}', "NaN and Infinity aren't numbers of JSON"),
        (b'{"client_id":' * 20 + b"1" + b"}" * 20, "deeper than 8 levels"),
    ],
)
def test_what_is_no_plain_json_object_is_refused(server: Guarded, body: bytes, told: str) -> None:
    assert told in server.refused(400, "POST", "/train/spine", content=body)


@pytest.mark.parametrize(
    "form",
    [
        {"data": {"params": "{"}},
        {"data": {"params": '{"result_extension": ".exe"}'}},
        {"data": {"params": '{"result_extension": "/../x.nii"}'}},
        {"data": {"params": '{"image": "/etc/passwd"}'}},
        {"data": {"params": '{"session": {"image": "/etc/passwd"}}'}},
        {"data": {"other": "1"}},
        {"files": {"label": ("x.nii.gz", b"1")}},
        {"files": [("file", ("a.nii.gz", b"1")), ("file", ("b.nii.gz", b"1"))]},
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"x=1", "headers": {"Content-Type": "text/plain"}},
        {"data": {f"f{number}": "1" for number in range(50)}},
    ],
)
def test_a_form_holds_what_is_allowed_once(server: Guarded, form: dict[str, Any]) -> None:
    answer = server.ask("POST", "/infer/spine?image=ct_2", **form)
    assert answer.status_code in (400, 415)
    assert server.inner.seen == []


@pytest.mark.parametrize(
    "name",
    ["x.py", "x", "x.pt", "x.sh", "x.nii.gz.pkl", ".nii.gz/..", "x.tar.gz", "a\nb.exe", "x.zip", "x" * 300 + ".nii"],
)
def test_only_images_are_taken(server: Guarded, name: str) -> None:
    told = server.refused(400, "PUT", "/datastore/label?image=ct_2", files={"label": (name, b"1")})
    assert "must be .nii.gz, .nii, .nrrd, .mha, .png, .jpg or .dcm" in told


def test_slicers_way_to_name_a_file_is_taken(server: Guarded) -> None:
    files = {"label": ("/home/anna/1.2.840.113.nii.gz", b"1")}
    assert server.ask("PUT", "/datastore/label?image=ct_2&tag=", files=files, data={"params": "{}"}).status_code == 200
    assert server.inner.seen[0]["query"] == "image=ct_2"


def test_a_label_without_its_file_is_refused(server: Guarded) -> None:
    assert "file is missing" in server.refused(400, "PUT", "/datastore/label?image=ct_2", data={"params": "{}"})


def test_an_upload_has_a_limit_whatever_it_says_of_its_length() -> None:
    server = Guarded(upload_bytes=1000)
    big = {"label": ("mask.nii.gz", b"0" * 3_000_000)}
    assert "max-upload-mb" in server.refused(413, "PUT", "/datastore/label?image=ct_2", files=big)

    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b"0" * 100_000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}

    async def stream() -> Any:
        for chunk in chunks():
            yield chunk

    server.refused(413, "PUT", "/datastore/label?image=ct_2", content=stream(), headers=headers)


def test_all_that_is_sent_at_once_has_a_limit_and_room_is_made_again() -> None:
    transit = Transit(100)
    transit.take(60)
    with pytest.raises(Refused, match="too much is being sent"):
        transit.take(60)
    transit.give_back(60)
    transit.take(100)
    server = Guarded()
    sent = {"label": ("mask.nii.gz", b"0" * 1_000_000)}
    for path in ("/datastore/label?image=ct_2", "/datastore/label?image=none", "/datastore/label?image=ct_2&tag=/"):
        server.ask("PUT", path, files=sent)
    assert server.guard._transit._held == 0


def test_a_call_that_takes_no_body_gets_none_and_is_the_last_on_its_connection(server: Guarded) -> None:
    for method, path in (("GET", "/info/"), ("DELETE", "/train/")):
        answer = server.ask(method, path, content=b"x" * 100)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        assert server.inner.seen[-1]["body"] == b""
    assert "connection" not in server.ask("GET", "/info/").headers


def test_slicer_names_its_own_image_beside_the_session_that_holds_it(server: Guarded) -> None:
    session = "0b6e8c1e-0000-11ef-8000-0242ac120002"
    assert server.ask("POST", f"/infer/spine?image=My%20CT&session_id={session}").status_code == 200
    assert server.inner.seen[0]["query"] == f"session_id={session}"


def test_settings_of_a_training_of_all_models_are_each_models_own(server: Guarded) -> None:
    both = {"client_id": "x", "spine": {"max_epochs": 2}, "lung_xray": {}}
    assert server.ask("POST", "/train/", json=both).status_code == 200
    assert json.loads(server.inner.seen[0]["body"]) == both
    for wrong in (
        {"spine": {"device": "$x"}},
        {"spine": {"train_ds": "/"}},
        {"spine": 1},
        {"other": {}},
        {"max_epochs": 1},
    ):
        server.refused(400, "POST", "/train/", json=wrong)


def test_no_other_site_is_told_that_it_may_ask() -> None:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"access-control-allow-origin", b"*"), (b"access-control-allow-credentials", b"true")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    server = Guarded(answers)
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = server.ask("GET", "/info/", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    assert server.ask("OPTIONS", "/datastore/label", role=None, headers=preflight).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_foreign_name_that_points_here_is_refused(server: Guarded, host: str) -> None:
    assert "isn't called that" in server.refused(400, "GET", "/info/", headers={"Host": host})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:8000", "LOCALHOST"])
def test_this_machines_own_names_are_taken(server: Guarded, host: str) -> None:
    assert server.ask("GET", "/info/", headers={"Host": host}).status_code == 200


def test_names_of_the_certificate_are_taken() -> None:
    server = Guarded(hosts=("label.clinic.example", "*.lab.example"))
    for host, status in (("label.clinic.example", 200), ("a.lab.example:1", 200), ("127.0.0.1", 400)):
        assert server.ask("GET", "/info/", headers={"Host": host}).status_code == status


def test_a_browser_may_keep_nothing_and_load_nothing_from_elsewhere(server: Guarded) -> None:
    headers = server.ask("GET", "/info/").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]


def test_a_websocket_is_closed(server: Guarded) -> None:
    import asyncio

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(server.guard({"type": "websocket", "path": "/info/", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert server.inner.seen == []
