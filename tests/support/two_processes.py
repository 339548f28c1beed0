"""Two real processes that talk by gloo, for tests: each runs every scenario and writes down what it saw."""

import os
import socket
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing


def scenarios(rank: int) -> dict[str, Any]:
    """What each scenario leaves in the process `rank`."""
    from monai.metrics import DiceMetric
    from toy_training import Images, Toy, toy_training, training_of_bundle_s_loss

    import radseg.bundles
    from radseg.pipelines.errors import RadsegError
    from radseg.pipelines.training import distributed
    from radseg.pipelines.training.shard_sampler import ValidationShard

    def run(**settings: Any) -> dict[str, Any]:
        return left_by(toy_training(**settings))

    def left_by(toy: Toy) -> dict[str, Any]:
        return {name: getattr(toy, name) for name in ("losses", "gradients", "parameters", "buffers", "exchanges")}

    def refusal(action: Any) -> str:
        try:
            action()
        except RadsegError as error:
            return str(error)
        return ""

    def fails() -> None:
        raise RadsegError("what the first met")

    metric, images = DiceMetric(), Images(5)
    for item in ValidationShard(images, distributed.world_size(), rank):
        metric(images.labels[item][None], (images.images[item] > 0)[None])
    return {
        "even": run(items=8, batch=2),
        "uneven": run(items=7, batch=2),
        "lonely": run(items=5, batch=2),
        "accumulated": run(items=14, batch=2, accumulate=2),
        "batch norm": run(items=9, batch=2, batch_norm=True, dropout=0.3),
        "amp": run(items=9, batch=2, batch_norm=True, amp=True, channels_last=True),
        **{
            f"loss of {bundle}": left_by(
                training_of_bundle_s_loss(bundle, ["train.json", "multi_gpu_train.json"], items=5, batch=2)
            )
            for bundle in radseg.bundles.names()
        },
        "spoilt": refusal(lambda: toy_training(items=8, batch=1, spoilt=6)),
        "dice": float(metric.aggregate()),
        "from the first": distributed.from_first(lambda: rank),
        "refused": refusal(lambda: distributed.from_first(fails)),
        "highest": distributed.highest(15 * rank),
    }


def _work(rank: int, port: int, folder: str) -> None:
    import warnings

    warnings.simplefilter("ignore")
    from radseg.pipelines.training import distributed

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    distributed.join(distributed.own_device("cpu"))
    torch.save(scenarios(rank), Path(folder) / f"{rank}.pt")
    distributed.leave()


def in_two_processes(folder: Path) -> list[dict[str, Any]]:
    """What `scenarios` left in both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_work, args=(port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
