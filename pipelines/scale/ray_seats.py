"""How many workers a Ray cluster gets, and what each of them may use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radseg.pipelines.errors import ConfigError


@dataclass(frozen=True)
class Seats:
    """Places for workers on a cluster, all alike, since Ray chooses the node.

    Attributes:
        count: workers at a time.
        cpus: of each; also its threads.
        gpus: of each, 1 or 0.
    """

    count: int
    cpus: int
    gpus: int

    @property
    def device(self) -> str:
        """The device of each: Ray shows it one GPU, or none."""
        return "cuda" if self.gpus else "cpu"


def seats_for(nodes: Sequence[Mapping[str, Any]], workers: int, device: str = "auto") -> Seats:
    """A worker on each GPU, or without GPUs as many as wanted, which share the CPUs.

    Args:
        nodes: what each live node offers, as Ray's "Resources" ("CPU", "GPU").
        workers: how many are wanted where there is no GPU.
        device: auto, cpu or cuda; "cpu" leaves GPUs alone.

    Raises:
        ConfigError: one GPU is wanted, or CUDA and no node has a GPU, or there are fewer CPUs than workers.
    """
    if device.startswith("cuda:"):
        raise ConfigError(f"device {device!r}: Ray uses all GPUs; use --device cuda, or run without --ray")
    gpu_nodes = [node for node in nodes if int(node.get("GPU", 0)) >= 1]
    if gpu_nodes and device != "cpu":
        share = min(int(node.get("CPU", 0)) // int(node["GPU"]) for node in gpu_nodes)
        return Seats(sum(int(node["GPU"]) for node in gpu_nodes), share, 1)
    if device == "cuda":
        raise ConfigError("device 'cuda' was asked for, and no node of the Ray cluster has a GPU; use --device cpu")
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    if sum(cpus) < workers:
        raise ConfigError(
            f"{workers} workers were asked for, and the Ray cluster has {sum(cpus)} CPUs; lower --workers"
        )
    share = next(each for each in range(sum(cpus) // workers, 0, -1) if sum(one // each for one in cpus) >= workers)
    return Seats(workers, share, 0)
