"""What goes wrong inside comes out as a status and one line; what is logged names nobody."""

import errno
import json
import logging
from typing import Any

import pytest
from guarded import Guarded

from radseg.pipelines.errors import InputError
from radseg.pipelines.label_server.refused import Refused


def failing(error: Exception) -> Guarded:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return Guarded(answers)


def saying(status: int, body: bytes) -> Guarded:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": body[5:]})

    return Guarded(answers)


def told(server: Guarded) -> tuple[int, str]:
    answer = server.ask("GET", "/info/")
    assert set(answer.json()) == {"detail"}
    return answer.status_code, answer.json()["detail"]


def test_a_users_mistake_is_told_in_its_own_words() -> None:
    assert told(failing(InputError("x.png: no radiograph;\n send another"))) == (
        400,
        "x.png: no radiograph; send another",
    )
    assert told(failing(Refused(429, "another training is running"))) == (429, "another training is running")


def test_a_mistake_that_a_library_wrapped_is_found() -> None:
    wrapped = RuntimeError("applying transform failed")
    wrapped.__cause__ = InputError("too dark")
    assert told(failing(wrapped)) == (400, "too dark")


def test_a_full_disk_is_told() -> None:
    status, line = told(failing(OSError(errno.ENOSPC, "No space left on device", "/srv/MUELLER")))
    assert status == 507
    assert "disk is full" in line


def test_anything_else_says_nothing_of_the_inside() -> None:
    status, line = told(failing(ValueError("/srv/studies/MUELLER^ANNA.nii.gz")))
    assert status == 500
    assert "MUELLER" not in line
    assert "log" in line


def test_an_error_after_an_answer_of_500_is_one_answer() -> None:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"Internal Server Error"})
        raise InputError("this image has no pixels")

    assert told(Guarded(answers)) == (400, "this image has no pixels")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, b"Traceback (most recent call last):\n  File", (500, "the server couldn't")),
        (500, b'{"detail": "Traceback (most"}', (500, "the server couldn't")),
        (500, b'{"detail": "Error processing inference"}', (500, "Error processing inference")),
        (503, b'{"detail": "disk full"}', (503, "disk full")),
        (422, json.dumps({"detail": [{"loc": ["query", "to"], "msg": "not an int", "input": "x"}]}).encode(),
         (400, "to: not an int")),
        (422, b'{"detail": 5}', (400, "the server couldn't")),
    ],
)  # fmt: skip
def test_failures_come_out_as_one_line(status: int, body: bytes, expected: tuple[int, str]) -> None:
    answered, line = told(saying(status, body))
    assert answered == expected[0]
    assert line.startswith(expected[1])


def test_a_long_answer_goes_through_in_its_pieces() -> None:
    server = saying(200, b"0123456789")
    assert server.ask("GET", "/info/").content == b"0123456789"


def test_the_log_says_what_was_asked_and_how_it_ended_but_not_of_whom(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="radseg.label")
    server = Guarded()
    token = server.token()
    server.ask("GET", "/datastore/image?image=case%201", token=token)
    server.ask("GET", "/datastore/image?image=MUELLER", token=token)
    server.ask("GET", "/ohif/viewer/1.2.840.99", token=token)
    server.ask("GET", "/MUELLER/ANNA", token=token)
    failing(ValueError("MUELLER")).ask("GET", "/info/")
    lines = [record.getMessage() for record in caplog.records if record.name == "radseg.label"]
    assert [line.rpartition(" ms")[0].rpartition(" ")[0] for line in lines] == [
        "GET /datastore/image 200",
        "GET /datastore/image 404",
        "GET /ohif/{path...} 200",
        "GET guard 404",
        "GET /info/ 500",
    ]
    assert lines[-1].endswith("ms ValueError")
    assert not any(secret in caplog.text for secret in ("MUELLER", "case 1", "1.2.840", token))
