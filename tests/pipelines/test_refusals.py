"""The manifest says each refusal once, with all its reasons, and takes back what isn't true any more."""

from typing import Any

from radseg.pipelines.refusals import Refusals


def _refused(reason: str) -> dict[str, Any]:
    return {"status": "refused", "input": "a", "reason": reason}


def test_all_reasons_of_one_input_stand_in_its_last_line() -> None:
    refusals = Refusals([])
    told = [row for reason in ("a scout", "cut off", "a scout") for row in refusals.lines("a", reason)]
    assert told == [_refused("a scout"), _refused("a scout; cut off")]


def test_what_an_earlier_run_said_isnt_said_again() -> None:
    refusals = Refusals([_refused("a scout"), _refused("a scout; cut off")])
    assert [row for reason in ("a scout", "cut off") for row in refusals.lines("a", reason)] == []


def test_another_reason_than_before_is_said() -> None:
    assert list(Refusals([_refused("cut off")]).lines("a", "cut off in IM1")) == [_refused("cut off in IM1")]


def test_only_an_input_that_became_a_case_without_a_refusal_is_taken_back() -> None:
    rows = [{"status": "refused", "input": name, "reason": "cut off"} for name in ("mended", "partly", "elsewhere")]
    refusals = Refusals(rows)
    assert list(refusals.lines("partly", "cut off")) == []
    usable = {"status": "usable", "input": "mended"}
    assert list(refusals.withdrawn({"mended", "partly"})) == [usable]
    assert list(Refusals([*rows, usable]).withdrawn({"mended"})) == []


def test_a_foreign_line_is_no_refusal() -> None:
    assert list(Refusals([{"status": "refused"}, {"status": "usable"}, {}]).withdrawn({"a"})) == []
