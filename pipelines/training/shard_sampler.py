"""Which items of an epoch each of several processes takes: none is left out, none counts twice."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import torch
from torch.utils.data import DistributedSampler

from radseg.pipelines.errors import WeightsError


class ShardSampler(DistributedSampler[Any]):
    """Deals shuffled items out in turn, as torch's `DistributedSampler` does, without counting any item twice.

    A step of all processes together takes the items that a single process with their joint batch would take. Where
    the items of the last step don't suffice, a process has fewer of them; one that would have none takes an item
    again, since it must take part in the step, and `counts` says that this item counts for nothing.

    Args:
        dataset: whose items are dealt out.
        num_replicas: number of processes.
        rank: of this process.
        seed: of the order, which changes with the epoch.
        batch_size: items that a process takes in a step.

    Attributes:
        skip: how many of its items the process leaves out when it next goes through them; for going on in mid-epoch.
    """

    def __init__(self, dataset: Sized, num_replicas: int, rank: int, seed: int = 0, batch_size: int = 1) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.batch_size = batch_size
        self.skip = 0
        self.num_samples = len(self._shard(list(range(len(dataset)))))

    def items(self) -> list[int]:
        """The items of this process in the epoch that was set, in their order."""
        return self._shard(self._order())

    def counts(self, step: int) -> list[int]:
        """How many items of a step of the epoch, from 0, count for each process."""
        joint = self.batch_size * self.num_replicas
        left = min(joint, len(self.dataset) - step * joint)  # type: ignore[arg-type]
        return [max(0, -((rank - left) // self.num_replicas)) for rank in range(self.num_replicas)]

    def batch(self, step: int) -> list[int]:
        """The items that this process takes in a step of the epoch, from 0."""
        return self.items()[step * self.batch_size :][: self.batch_size]

    def joint_batch(self, step: int) -> list[int]:
        """The items that all processes together take in a step of the epoch, from 0."""
        joint = self.batch_size * self.num_replicas
        return self._order()[step * joint :][:joint]

    def name_of(self, item: int) -> str:
        """What the dataset calls an item, see `EpochDataset.name_of`; its number where it has no names."""
        name_of = getattr(self.dataset, "name_of", None)
        return f"item {item}" if name_of is None else str(name_of(item))

    def _order(self) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return list(torch.randperm(len(self.dataset), generator=generator).tolist())  # type: ignore[arg-type]

    def _shard(self, order: list[int]) -> list[int]:
        joint = self.batch_size * self.num_replicas
        short = len(order) % joint  # items of the last step, fewer than there are processes
        again = order[:1] if 0 < short <= self.rank else []
        return order[self.rank :: self.num_replicas] + again

    def __iter__(self) -> Iterator[int]:
        skip, self.skip = self.skip, 0
        return iter(self.items()[skip:])

    def dealing(self) -> dict[str, int]:
        """What tells whether another sampler deals the same items out."""
        return {
            "seed": self.seed,
            "num_replicas": self.num_replicas,
            "batch_size": self.batch_size,
            "items": len(self.dataset),  # type: ignore[arg-type]
        }

    def refuse_other(self, dealing: Mapping[str, int], was: str = "was trained") -> None:
        """Sees that another sampler dealt as this one does.

        Args:
            dealing: what its `dealing` gave.
            was: what it did, for the message.

        Raises:
            WeightsError: it dealt items out in another way.
        """
        for name, value in self.dealing().items():
            if dealing[name] != value:
                raise WeightsError(f"{was} with {name} {dealing[name]}, now it is {value}; resume with the same")

    def state_dict(self, steps: int) -> dict[str, int]:
        """How items are dealt out, and how many this sampler has given in `steps`."""
        return {"skip": steps * self.batch_size, **self.dealing()}

    def load_state_dict(self, saved: dict[str, int]) -> None:
        """Goes on where the sampler that gave `saved` was.

        Raises:
            WeightsError: that one dealt items out in another way.
        """
        self.refuse_other(saved, "was stopped in mid-epoch")
        self.skip = saved["skip"]


class ValidationShard(torch.utils.data.Sampler[int]):
    """Every so-manieth item for each process, in order; all items for each where there are fewer than processes.

    MONAI's metrics gather the items of all processes. Their means are those of a single process either way.

    Args:
        dataset: whose items are shared out.
        num_replicas: number of processes.
        rank: of this process.
    """

    def __init__(self, dataset: Sized, num_replicas: int, rank: int) -> None:
        items = range(len(dataset))
        self._items = items if len(items) < num_replicas else items[rank::num_replicas]

    def __iter__(self) -> Iterator[int]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
