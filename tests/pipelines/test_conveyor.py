"""Items pass through stations side by side, no more at a time than there are hands."""

import threading
from dataclasses import dataclass, field

import pytest

from radseg.pipelines import conveyor
from radseg.pipelines.conveyor import Station, convey


@dataclass
class _Parcel:
    number: int
    stamps: list[str] = field(default_factory=list)


def _stamp(name: str):
    return lambda parcel: parcel.stamps.append(name)


def test_every_item_passes_every_station_in_order() -> None:
    stations = [Station(_stamp("read")), Station(_stamp("run"), hands=2), Station(_stamp("write"))]
    parcels = list(convey((_Parcel(number) for number in range(20)), stations))
    assert sorted(parcel.number for parcel in parcels) == list(range(20))
    assert all(parcel.stamps == ["read", "run", "write"] for parcel in parcels)


def test_the_next_item_is_read_while_one_runs_and_the_last_is_written() -> None:
    meeting = threading.Barrier(3, timeout=20)  # passed only by three stations at work at the same time

    def waits_with(number: int) -> Station[_Parcel]:
        return Station(lambda parcel: meeting.wait() if parcel.number == number else None)

    stations = [waits_with(2), waits_with(1), waits_with(0)]
    parcels = list(convey((_Parcel(number) for number in range(3)), stations))
    assert len(parcels) == 3


def test_no_more_items_are_taken_than_there_are_hands() -> None:
    written, waiting, fifth_taken = [], [], threading.Event()

    def items():
        for number in range(10):
            waiting.append(number + 1 - len(written))
            if number == 4:
                fifth_taken.set()
            yield _Parcel(number)

    stations = [
        Station(_stamp("read")),
        Station(lambda parcel: fifth_taken.wait(20), hands=2),
        Station(lambda parcel: written.append(parcel.number)),
    ]
    assert len(list(convey(items(), stations))) == 10
    assert max(waiting) == 5  # four on the way, and the one that is about to be


def test_an_error_reaches_whoever_waits_and_the_written_stay_written() -> None:
    written: list[int] = []

    def run(parcel: _Parcel) -> None:
        if parcel.number == 3:
            raise ValueError("the fourth")

    stations = [Station(run), Station(lambda parcel: written.append(parcel.number))]
    with pytest.raises(ValueError, match="the fourth"):
        list(convey((_Parcel(number) for number in range(9)), stations))
    assert written[:3] == [0, 1, 2]
    assert 3 not in written


def test_each_hand_is_prepared_once_in_its_own_thread() -> None:
    names: list[str] = []
    station = Station(_stamp("run"), prepare=lambda: names.append(threading.current_thread().name))
    list(convey((_Parcel(number) for number in range(5)), [station]))
    assert len(names) == 1
    assert names[0] != threading.main_thread().name


def test_left_early_no_station_but_the_last_begins_another_item(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, left = threading.Event(), threading.Event()
    begun: list[int] = []

    class Stopping(threading.Event):
        def set(self) -> None:
            super().set()
            left.set()

    def read(parcel: _Parcel) -> None:
        if parcel.number == 1:
            reading.set()
            assert left.wait(20)

    monkeypatch.setattr(conveyor, "Event", Stopping)
    stations = [Station(read), Station(lambda parcel: begun.append(parcel.number)), Station(_stamp("write"))]
    belt = convey((_Parcel(number) for number in range(2)), stations)
    assert next(belt).number == 0
    assert reading.wait(20)
    belt.close()
    assert begun == [0]
