"""When a series counts as whole, and what waits for it."""

from typing import Any

import pytest

from radseg.pipelines.io.in_turn import InTurn, Series


def handed_on(folders: list[list[str]]) -> list[list[str]]:
    """What is handed on after each folder, and at the end; "A1" is a file of series A, "scan.nii" needs no other."""
    waiting = InTurn[Any]()
    steps = []
    for folder in folders:
        for one in folder:
            if one.endswith(".nii"):
                waiting.add(one)
            elif not waiting.add_file(one[0], one):  # type: ignore[arg-type]
                waiting.add(f"late {one}")
        waiting.folder_ends()
        steps.append(list(waiting.take()))
    waiting.search_ends()
    steps.append(list(waiting.take()))
    return [[one.headers if isinstance(one, Series) else one for one in step] for step in steps]


@pytest.mark.parametrize(
    ("folders", "steps"),
    [
        # a folder for each series: each is handed on when the next one was read
        ([["A1", "A2"], ["B1"], ["C1"]], [[], [["A1", "A2"]], [["B1"]], [["C1"]]]),
        # a series that goes on in the next folder, in which another begins
        ([["A1"], ["A2", "B1"], ["B2"]], [[], [], [["A1", "A2"]], [["B1", "B2"]]]),
        # folders without anything say nothing about what is in the next one
        ([["A1"], [], [], ["A2"]], [[], [], [], [], [["A1", "A2"]]]),
        # several in one folder
        ([["A1", "B1", "A2"], ["C1"]], [[], [["A1", "A2"], ["B1"]], [["C1"]]]),
        # what was met later waits for what was met before
        ([["x.nii", "A1", "y.nii"], ["A2"], ["B1"]], [["x.nii"], [], [["A1", "A2"], "y.nii"], [["B1"]]]),
        # a file that comes too late is known as such
        ([["A1"], ["B1"], ["A2"]], [[], [["A1"]], [["B1"], "late A2"], []]),
    ],
)  # fmt: skip
def test_a_series_is_whole_when_one_more_folder_had_no_file_of_it(
    folders: list[list[str]], steps: list[list[Any]]
) -> None:
    assert handed_on(folders) == steps
