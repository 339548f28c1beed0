"""A data loader's processes aren't gone before the training that needs them could save its place."""

import os
import signal
import time
from typing import Any

import pytest
from monai.bundle import ConfigParser
from monai.data import DataLoader
from torch.utils.data import Dataset

from radseg.bundles import root
from radseg.pipelines.training import loader_worker
from radseg.pipelines.training.loader_worker import outlive_sigterm


class Terminated(Dataset[int]):
    """Items whose second one sends SIGTERM to the process that loads it, which then has this long to live."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        if index == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(self.seconds)
        return index


def _loaded(seconds: float, **options: Any) -> list[int]:
    return [int(item) for batch in DataLoader(Terminated(seconds), num_workers=2, **options) for item in batch]


def test_a_worker_that_gets_sigterm_goes_on_loading() -> None:
    assert _loaded(0.3, worker_init_fn=outlive_sigterm) == [0, 1, 2, 3, 4, 5]


def test_without_it_a_worker_ends_and_the_training_with_it() -> None:
    with pytest.raises(RuntimeError, match=r"killed by signal|exited unexpectedly"):
        _loaded(0.3)


def test_a_worker_that_nobody_ends_is_gone_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_worker, "_GRACE_S", 1)
    with pytest.raises(RuntimeError, match=r"killed by signal|exited unexpectedly"):
        _loaded(30, worker_init_fn=outlive_sigterm)


@pytest.mark.parametrize("bundle", ["lung_ct", "lung_xray", "pelvis_xray", "spine"])
def test_each_bundle_trains_with_it(bundle: str) -> None:
    parser = ConfigParser()
    parser.read_config(f"{root(bundle)}/train.json")
    parser["train#dataloader#dataset"], parser["train#dataloader#sampler"] = list(range(4)), None
    loader = parser.get_parsed_content("train#dataloader", instantiate=True)
    assert loader.worker_init_fn is outlive_sigterm
