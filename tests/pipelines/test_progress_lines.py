"""Who looks at a log hears of work that takes long, and isn't told of what is over before it could be read."""

import pytest

from radseg.pipelines import progress_lines
from radseg.pipelines.progress_lines import tell, told


def lines_of(count: int, step_s: float, capsys: pytest.CaptureFixture[str], wanted: bool = True) -> list[str]:
    """What is written while so many items take so long each."""
    seen: list[int] = []
    for item in told(range(count), "checking", wanted, lambda: len(seen) * step_s):
        seen.append(item)
    assert seen == list(range(count))
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_quick_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(1000, 0.0019, capsys) == []


def test_after_two_seconds_it_is_said_how_far_it_is_and_then_ever_less_often(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = lines_of(3600, 1.0, capsys)
    assert said[:3] == ["checking: 2 of 3,600", "checking: 4 of 3,600", "checking: 8 of 3,600"]
    assert said[-1] == "checking: 2,048 of 3,600"
    assert len(said) == 11


def test_items_that_take_minutes_each_are_told_of_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(3, 100.0, capsys) == ["checking: 1 of 3", "checking: 2 of 3"]


def test_nothing_is_said_to_who_asked_for_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(100, 10.0, capsys, wanted=False) == []
    tell("started", wanted=False)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_instead(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[tuple[list[int], str]] = []
    monkeypatch.setattr(progress_lines, "bars_shown", lambda wanted: wanted)
    monkeypatch.setattr(progress_lines, "tracked", lambda items, doing: drawn.append((list(items), doing)) or items)
    assert lines_of(3, 100.0, capsys) == []
    assert drawn == [([0, 1, 2], "checking")]


def test_a_line_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    tell("no [red]FFM[/red], fold 0: started " + "x" * 300)
    assert capsys.readouterr().err == "no [red]FFM[/red], fold 0: started " + "x" * 300 + "\n"
