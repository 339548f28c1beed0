"""Received images are whole or not there, and a study is handed out once, when nothing more of it comes."""

import errno
import math
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from set_clock import SetClock

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.inbox import Inbox, Study


@dataclass(eq=False)
class Connection:
    """A sender."""

    is_established: bool = True


@pytest.fixture
def inbox(tmp_path: Path, clock: SetClock) -> Iterator[Callable[..., Inbox]]:
    """Opens the inbox; opened again, it is as after a restart."""
    opened: list[Inbox] = []

    def open_it(**options: Any) -> Inbox:
        for earlier in opened:
            earlier.close()
        opened.append(Inbox(tmp_path / "inbox", **{"quiet_seconds": 30, "clock": clock, **options}))
        return opened[-1]

    yield open_it
    for box in opened:
        box.close()


def _send(inbox: Inbox, study: str, *instances: str, over: Connection | None = None) -> None:
    for instance in instances:
        inbox.keep(study, instance, [b"head ", instance.encode()], over or Connection(False))


def _handed_out(inbox: Inbox) -> Study:
    study = inbox.next_study()
    assert study is not None
    return study


def _contents(study: Study) -> list[str]:
    return sorted(file.read_text() for file in study.folder.glob("*.dcm"))


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.name != ".lock"]


def test_a_study_is_handed_out_when_it_has_been_quiet(inbox: Callable[..., Inbox], clock: SetClock) -> None:
    box = inbox()
    _send(box, "1.2.3", "1")
    clock.now += 20
    _send(box, "1.2.3", "2")
    clock.now += 29
    assert box.next_study() is None
    clock.now += 1
    study = _handed_out(box)
    assert (len(study.instances), study.missing, study.resumed) == (2, 0, False)
    assert _contents(study) == ["head 1", "head 2"]
    assert box.next_study() is None


def test_a_study_waits_for_who_is_sending_it(inbox: Callable[..., Inbox], clock: SetClock) -> None:
    box, first, second = inbox(), Connection(), Connection()
    _send(box, "1.2.3", "1", over=first)
    _send(box, "1.2.3", "2", over=second)
    clock.now += 1000
    assert box.next_study() is None
    first.is_established = False
    assert box.next_study() is None
    second.is_established = False
    assert len(_handed_out(box).instances) == 2


def test_a_connection_that_stays_open_for_other_studies_holds_none_up(
    inbox: Callable[..., Inbox], clock: SetClock
) -> None:
    box, forever = inbox(), Connection()
    _send(box, "1.2.3", "1", over=forever)
    clock.now += 31
    _send(box, "4.5.6", "2", over=forever)
    assert _contents(_handed_out(box)) == ["head 1"]
    assert box.next_study() is None


def test_two_studies_sent_alternately_stay_two(inbox: Callable[..., Inbox], clock: SetClock) -> None:
    box, sender = inbox(), Connection()
    for number in range(6):
        _send(box, f"1.2.{number % 2}", f"9.{number}", over=sender)
    sender.is_established = False
    clock.now += 30
    assert _contents(_handed_out(box)) == ["head 9.0", "head 9.2", "head 9.4"]
    assert _contents(_handed_out(box)) == ["head 9.1", "head 9.3", "head 9.5"]


def test_the_study_that_has_waited_longest_is_first(inbox: Callable[..., Inbox], clock: SetClock) -> None:
    box = inbox()
    _send(box, "1", "a")
    clock.now += 1
    _send(box, "2", "b")
    clock.now += 1
    _send(box, "1", "c")
    clock.now += 30
    assert [_contents(_handed_out(box)) for _ in range(2)] == [["head b"], ["head a", "head c"]]


def test_the_same_image_sent_twice_is_one(inbox: Callable[..., Inbox], clock: SetClock) -> None:
    box = inbox()
    _send(box, "1.2.3", "1", "1", "2", "1")
    clock.now += 30
    assert _contents(_handed_out(box)) == ["head 1", "head 2"]


HOSTILE = ["../../x", "/etc/passwd", "..", "", "a/b\\c", "\0", "x" * 10_000, "CON", "\udcff", "mask\n.nii.gz"]


@pytest.mark.parametrize("uid", HOSTILE)
def test_no_uid_leads_out_of_the_inbox(uid: str, inbox: Callable[..., Inbox], clock: SetClock, tmp_path: Path) -> None:
    box = inbox()
    box.keep(uid, uid, [b"x"], Connection(False))
    clock.now += 30
    study = _handed_out(box)
    kept = [file for file in _files(tmp_path) if file.suffix == ".dcm"]
    assert [file.parent for file in kept] == [tmp_path / "inbox" / study.name]
    assert {file.parent for file in _files(tmp_path)} == {study.folder}
    assert study.name.isalnum()


def test_only_this_user_can_read_what_is_received(inbox: Callable[..., Inbox], tmp_path: Path) -> None:
    _send(inbox(), "1.2.3", "1")
    (file,) = _files(tmp_path)
    places = [file, file.parent, tmp_path / "inbox"]
    assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o600, 0o700, 0o700]


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_an_image_for_which_there_is_no_room_is_said_and_leaves_nothing(
    fails: str, inbox: Callable[..., Inbox], clock: SetClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = inbox()
    _send(box, "1.2.3", "1")
    before = _files(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half() -> Any:
        yield b"half of it"
        full()

    with monkeypatch.context() as patch:
        if fails == "fsync":
            patch.setattr(os, "fsync", full)
        if fails == "replace":
            patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            box.keep("1.2.3", "2", half() if fails == "write" else [b"x"], Connection(False))
    assert _files(tmp_path) == before
    _send(box, "1.2.3", "2")
    clock.now += 30
    assert _contents(_handed_out(box)) == ["head 1", "head 2"]


def test_a_study_has_no_more_images_than_allowed(inbox: Callable[..., Inbox]) -> None:
    box = inbox(max_instances=2)
    _send(box, "1.2.3", "1", "2", "2")
    with pytest.raises(OSError, match="too many images in one study"):
        _send(box, "1.2.3", "3")
    _send(box, "4.5.6", "3")
    assert box.waiting == 2


def test_after_a_crash_the_images_are_still_there_and_no_part_of_one(
    inbox: Callable[..., Inbox], clock: SetClock, tmp_path: Path
) -> None:
    _send(inbox(), "1.2.3", "1", "2")
    (folder,) = {file.parent for file in _files(tmp_path)}
    (folder / ".0123.77.part").write_bytes(b"half an im")
    box = inbox()
    assert box.waiting == 1
    assert box.next_study() is None  # the sender may be about to go on
    _send(box, "1.2.3", "3")
    clock.now += 30
    assert _contents(_handed_out(box)) == ["head 1", "head 2", "head 3"]
    assert not [file for file in _files(tmp_path) if file.suffix == ".part"]


def test_images_that_come_while_the_study_is_segmented_bring_it_up_again(
    inbox: Callable[..., Inbox], clock: SetClock
) -> None:
    box = inbox(keep_seconds=0)
    _send(box, "1.2.3", "1")
    clock.now += 30
    study = _handed_out(box)
    _send(box, "1.2.3", "2")
    box.done(study)
    box.delete_old()
    clock.now += 30
    again = _handed_out(box)
    assert _contents(again) == ["head 1", "head 2"]
    assert (again.missing, again.resumed) == (0, False)


def test_segmented_images_are_deleted_in_due_time_and_late_ones_are_not_taken_for_a_study(
    inbox: Callable[..., Inbox], clock: SetClock
) -> None:
    box = inbox(keep_seconds=0)
    _send(box, "1.2.3", "1", "2")
    clock.now += 30
    study = _handed_out(box)
    box.delete_old()
    assert len(_contents(study)) == 2
    box.done(study)
    box.delete_old()
    assert _contents(study) == []
    _send(box, "1.2.3", "3")
    clock.now += 30
    late = _handed_out(box)
    assert (late.missing, len(late.instances)) == (2, 1)
    box.failed(late)
    _send(box, "1.2.3", "1", "2")
    clock.now += 30
    whole = _handed_out(box)
    assert (whole.missing, _contents(whole)) == (0, ["head 1", "head 2", "head 3"])


def test_the_time_to_delete_outlasts_a_restart(inbox: Callable[..., Inbox], clock: SetClock) -> None:
    box = inbox(keep_seconds=3600)
    _send(box, "1.2.3", "1")
    clock.now += 30
    study = _handed_out(box)
    box.done(study)
    again = inbox(keep_seconds=3600)
    assert again.waiting == 0
    again.delete_old()
    assert _contents(study) == ["head 1"]
    os.utime(study.folder / "segmented", (0, 0))
    inbox(keep_seconds=3600).delete_old()
    assert _contents(study) == []


def test_kept_for_good_means_for_good(inbox: Callable[..., Inbox], clock: SetClock) -> None:
    box = inbox(keep_seconds=math.inf)
    _send(box, "1.2.3", "1")
    clock.now += 30
    study = _handed_out(box)
    box.done(study)
    os.utime(study.folder / "segmented", (0, 0))
    inbox(keep_seconds=math.inf).delete_old()
    assert _contents(study) == ["head 1"]


def test_a_study_that_failed_is_kept_and_comes_again_with_a_restart_or_when_it_is_sent_again(
    inbox: Callable[..., Inbox], clock: SetClock
) -> None:
    box = inbox(keep_seconds=0)
    _send(box, "1.2.3", "1")
    clock.now += 30
    box.failed(_handed_out(box))
    box.delete_old()
    clock.now += 1000
    assert box.next_study() is None
    _send(box, "1.2.3", "1")
    clock.now += 30
    box.failed(_handed_out(box))
    box = inbox(keep_seconds=0)
    clock.now += 30
    assert _contents(_handed_out(box)) == ["head 1"]


def test_results_are_gone_on_with_only_if_they_are_of_the_very_same_images(
    inbox: Callable[..., Inbox], clock: SetClock
) -> None:
    box = inbox()
    _send(box, "1.2.3", "1")
    clock.now += 30
    assert not _handed_out(box).resumed
    box = inbox()  # killed in mid-study
    clock.now += 30
    assert _handed_out(box).resumed
    _send(box, "1.2.3", "2")
    clock.now += 30
    assert not _handed_out(box).resumed
    box = inbox()  # killed again: what is there may be of one image or of two
    clock.now += 30
    study = _handed_out(box)
    assert not study.resumed
    box.done(study)
    _send(box, "1.2.3", "2")
    clock.now += 30
    assert not _handed_out(box).resumed


def test_a_study_for_whose_record_there_is_no_room_is_kept(
    inbox: Callable[..., Inbox], clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = inbox(keep_seconds=0)
    _send(box, "1.2.3", "1")
    clock.now += 30
    study = _handed_out(box)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        box.done(study)
    box.delete_old()
    assert _contents(study) == ["head 1"]


def test_two_listeners_dont_share_an_inbox(inbox: Callable[..., Inbox], tmp_path: Path) -> None:
    inbox()
    with pytest.raises(ConfigError, match="another listener keeps its images here; choose another inbox"):
        Inbox(tmp_path / "inbox")


def test_a_folder_that_cant_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/inbox: can't be written \(Not a directory\)"):
        Inbox(tmp_path / "file" / "inbox")


@pytest.mark.parametrize("value", [-1, math.nan])
@pytest.mark.parametrize("name", ["quiet_seconds", "keep_seconds"])
def test_times_are_times(name: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*; give 0 or more"):
        Inbox(tmp_path, **{name: value})
