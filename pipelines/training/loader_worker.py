"""Processes of a data loader, which systemd, Slurm and a `kill` of the group stop along with their training."""

import signal

from monai.data.utils import worker_init_fn

_GRACE_S = 60


def outlive_sigterm(worker: int) -> None:
    """For a data loader's `worker_init_fn`: SIGTERM ends a worker only after a minute.

    A training that is told to stop finishes its step, for which it may still need its workers, and keeps its place;
    then it ends them, as the end of its process does too.

    Args:
        worker: number of the worker.
    """
    worker_init_fn(worker)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE_S))
