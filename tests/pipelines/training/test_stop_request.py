"""What a second signal does while work in hand is put into order."""

import signal

import pytest

from radseg.pipelines.training.stop_request import StopRequest


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_sigterm_after_a_signal_changes_nothing(first: int) -> None:
    with StopRequest() as stop:
        signal.raise_signal(first)
        assert signal.getsignal(signal.SIGTERM) == stop._note
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == first


def test_a_second_ctrl_c_ends_the_process_at_once() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
