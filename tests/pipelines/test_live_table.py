"""What people see while a batch runs."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console
from set_clock import SetClock

from radseg.pipelines.live_table import LiveTable


def terminal(width: int = 120) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def seen(table: LiveTable, width: int = 120) -> list[str]:
    """The lines of the table as a terminal shows them."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table._drawn())
    output = console.file
    assert isinstance(output, io.StringIO)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_the_numbers_and_each_case_at_work_are_shown(clock: SetClock) -> None:
    with LiveTable(True, clock, terminal()) as table:
        assert seen(table) == ["0 done · 0 done before · 0 failed · 0 refused · ? a minute · 0:00 elapsed · ? left"]
        first, second, third, fourth = (table.start(name) for name in ("a", "b", "c", "d"))
        table.refused()
        clock.now += 30
        table.end(first, True)
        table.end(second, "damaged")
        table.end(third, False)
        table.say(fourth, "segmenting, window 3 of 8")
        table.found(0.5)
        clock.now += 30
        assert seen(table) == [
            "1 done · 1 done before · 1 failed · 1 refused · 3.0 a minute · 1:00 elapsed · 1:40 left",
            "  d: segmenting, window 3 of 8 · 1:00",
        ]


def test_the_rate_is_that_of_the_last_twenty_and_falls_while_nothing_ends(clock: SetClock) -> None:
    table = LiveTable(False, clock, terminal())
    for seconds in [600] * 5 + [3] * 21:
        handle = table.start("x")
        clock.now += seconds
        table.end(handle, True)
    assert "20.0 a minute" in seen(table)[0]
    clock.now += 60
    assert "10.0 a minute" in seen(table)[0]


def test_when_all_cases_are_known_the_time_left_is_that_of_those_not_ended(clock: SetClock) -> None:
    table = LiveTable(False, clock, terminal())
    handles = [table.start(str(number)) for number in range(10)]
    for handle in handles[:4]:
        clock.now += 3600
        table.end(handle, True)
    table.found(1.0)
    assert seen(table)[0].endswith("0.0 a minute · 4:00:00 elapsed · 6:00:00 left")


def test_where_there_is_no_terminal_only_printed_lines_appear(clock: SetClock) -> None:
    output = io.StringIO()
    with LiveTable(False, clock, Console(file=output)) as table:
        handle = table.start("case")
        table.say(handle, "reading")
        table.print("failed [bold]case[/]: " + "x" * 200)
        table.end(handle, True)
    assert output.getvalue() == "failed [bold]case[/]: " + "x" * 200 + "\n"


def test_the_table_is_drawn_on_a_terminal_and_lines_stay_above_it(clock: SetClock) -> None:
    console = terminal()
    with LiveTable(True, clock, console) as table:
        table.start("case")
        table.print("failed other: damaged")
    output = console.file
    assert isinstance(output, io.StringIO)
    assert "failed other: damaged\n" in output.getvalue()
    assert "1 done" not in output.getvalue()
    assert "case: waiting · 0:00" in output.getvalue()
    assert output.getvalue().endswith("\x1b[2K")  # the table is wiped


def test_no_name_steers_the_terminal_and_long_ones_are_cut(clock: SetClock) -> None:
    console = terminal()
    table = LiveTable(False, clock, console)
    table.start("evil\x1b[2J\r\n[red]" + "x" * 300)
    table.print("failed evil\x1b]0;title\x07")
    numbers, line = seen(table, width=60)
    assert line.startswith("  evil�[2J��[red]xxx")
    assert len(line) == 60
    assert line.endswith("…")
    output = console.file
    assert isinstance(output, io.StringIO)
    assert output.getvalue() == "failed evil�]0;title�\n"
    assert len(numbers) <= 60


def test_threads_share_it(clock: SetClock) -> None:
    table = LiveTable(False, clock, terminal())

    def work(number: int) -> None:
        handle = table.start(str(number))
        table.say(handle, "reading")
        seen(table)
        table.end(handle, number % 2 == 0)
        table.refused()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert seen(table)[0].startswith("100 done · 100 done before · 0 failed · 200 refused")


def test_an_error_inside_takes_the_table_down(clock: SetClock) -> None:
    table = LiveTable(True, clock, terminal())

    def interrupted() -> None:
        with table:
            assert table._live.is_started
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not table._live.is_started
