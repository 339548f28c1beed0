"""Several processes that train one network: who this one is, what they agree on, and which of them speaks.

Everything here also works in a single process, where it does nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.nn.functional import all_reduce
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from radseg.pipelines.engine.device import pick_device
from radseg.pipelines.errors import ConfigError

_Value = TypeVar("_Value")
_STORE: list[Store] = []


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def speaks() -> bool:
    """Whether this process tells the user what happened: of those that torchrun started, the first does."""
    return not launched() or os.environ["RANK"] == "0"


def rank() -> int:
    """Number of this process, 0 for the first, which alone writes and reports."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own_device(name: str | torch.device = "auto") -> torch.device:
    """The device of this process: a GPU of its own on its machine, or the CPU that all share.

    Raises:
        ConfigError: there are more processes than GPUs, one GPU was named for all, or the name isn't a device.
    """
    device = pick_device(name)
    if device.type == "cpu":
        return device
    here, processes = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.index is not None and processes > 1:
        raise ConfigError(f"device {str(name)!r} is one GPU for all processes; use --device cuda, and each has its own")
    if processes > here:
        raise ConfigError(f"there are {processes} processes on {here} GPUs; start fewer with --nproc_per_node {here}")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index)


def join(device: torch.device) -> None:
    """Makes this process one of those that torchrun started; they talk by gloo, and by NCCL about what is on a GPU.

    Args:
        device: of this process, see `own_device`.

    Raises:
        ConfigError: torchrun didn't start this process.
    """
    if dist.is_initialized():
        return
    if "LOCAL_RANK" not in os.environ:
        raise ConfigError("multi_gpu_train.json: only for torchrun --nproc_per_node N -m monai.bundle run training …")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, number, processes = next(iter(rendezvous("env://")))
    _STORE[:] = [store]
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=processes)


def leave() -> None:
    """Ends what `join` began, when all have come this far."""
    if dist.is_initialized():
        settle()
        dist.destroy_process_group()
    _STORE.clear()


def settle() -> None:
    """Waits for all processes, and for gloo's threads to have freed the tensors of what was exchanged before.

    They free them after an exchange has ended, and need Python to do so: a process that leaves Python in that moment is
    aborted. A barrier has no tensor, and can't begin while one is being freed.
    """
    if world_size() > 1:
        group: Any = dist.group.WORLD
        gloo = group._get_backend(torch.device("cpu"))  # dist.barrier would take NCCL's where there is one
        for _ in range(2):
            gloo.barrier().wait()


def parallel(network: torch.nn.Module, device: torch.device) -> DistributedDataParallel:
    """The network as a trainer runs it, gradients averaged over the processes; its weights begin as the first's are.

    On GPUs the batch norms inside `network` are replaced by ones that take their statistics over all processes
    (`SyncBatchNorm`, which torch doesn't have for the CPU); their weights stay the same tensors. Buffers, such as
    running statistics, are the first process' in every step: a checkpoint that the first writes holds those of all.
    Validation uses averaged ones, see `RefreshBatchNorm`.
    """
    if device.type == "cuda":
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def total(values: list[float]) -> list[float]:
    """Each value summed over the processes, in double precision."""
    if world_size() == 1:
        return values
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums)
    return [float(value) for value in sums]


def summed(values: torch.Tensor) -> torch.Tensor:
    """Values summed over the processes; each process' own get the gradients of all processes' losses."""
    return values if world_size() == 1 else all_reduce(values)  # type: ignore[no-untyped-call]


def highest(value: int) -> int:
    """The highest of the processes' values."""
    if world_size() == 1:
        return value
    most = torch.tensor([value])
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return int(most)


def average_(tensors: list[torch.Tensor]) -> None:
    """Replaces tensors by their means over the processes."""
    for tensor in tensors if world_size() > 1 else ():
        dist.all_reduce(tensor)
        tensor /= world_size()


def from_first_(tensors: Iterable[torch.Tensor]) -> None:
    """Replaces tensors by those of the first process."""
    for tensor in tensors if world_size() > 1 else ():
        dist.broadcast(tensor, src=0)


def gathered(value: _Value) -> list[_Value]:
    """The values of all processes, in their order."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], _Value]) -> _Value:
    """What `make` gives in the first process, in all; an error there is raised in all."""
    if world_size() == 1:
        return make()
    made: list[Any] = [None]
    if rank() == 0:
        try:
            made = [(make(), None)]
        except Exception as error:
            made = [(None, error)]
    dist.broadcast_object_list(made)
    value, failure = made[0]
    if failure is not None:
        raise failure
    return value  # type: ignore[no-any-return]


@contextmanager
def one_voice() -> Iterator[None]:
    """Lets the error that ends several processes out of the one where it came first; the others exit without a word.

    When one process ends, those that wait for it fail too, and torchrun ends the rest.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not launched() or _first_to_fail():
            raise
        interrupted = isinstance(error, KeyboardInterrupt)
        raise SystemExit((130 if type(error) is KeyboardInterrupt else 143) if interrupted else 1) from None
    else:
        leave()


def _first_to_fail() -> bool:
    if not _STORE:  # before they met all do the same
        return speaks()
    with suppress(RuntimeError):  # the store is gone with the process that held it: that one was first
        return int(_STORE[0].add("radseg/failed", 1)) == 1
    return False
