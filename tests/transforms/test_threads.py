"""Work on several threads: all of it is done, torch is left as it was, errors come out."""

from collections.abc import Iterator

import pytest
import torch

from radseg.transforms.threads import in_threads


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_number_is_done_once_and_the_threads_stay(threads: int) -> None:
    done: list[int] = []
    in_threads(done.append, range(20))
    assert sorted(done) == list(range(20))
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads")
def test_tensors_made_in_inference_mode_can_be_written() -> None:
    with torch.inference_mode():
        out = torch.zeros(8)
        in_threads(lambda index: out[index].fill_(index), range(8))
    assert out.tolist() == list(range(8))


def test_an_error_comes_out(threads: int) -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 // (number - 3), range(5))  # type: ignore[arg-type, return-value]
    assert torch.get_num_threads() == threads
