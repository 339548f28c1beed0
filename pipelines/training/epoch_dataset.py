"""A training set whose augmentation depends on (seed, epoch, index) alone, so that resumed equals uninterrupted."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import Randomizable
from torch.utils.data import Dataset

from radseg.pipelines.console import tracked
from radseg.pipelines.datalist import check_labels
from radseg.pipelines.errors import InputError, one_line, radseg_cause
from radseg.pipelines.training.prepared_cache import PreparedCache

_logger = logging.getLogger("radseg.training")

_COUNTED_AT_ONCE = 1 << 20


class EpochDataset(Dataset[Any]):
    """Prepares every image once, keeps it in memory, and augments it anew in each epoch.

    With a `cache_dir`, what was prepared is kept on disk too and the next training starts with it. Then memory holds
    items up to its share, and the others are mapped from disk.

    The random state of an item is set from (seed, epoch, index) just before it is augmented, so neither the order of
    items, the number of workers nor a restart changes what an epoch sees.

    Args:
        data: datalist items with "image" and "label".
        transform: deterministic dictionary transform, run once an item.
        augmentation: random dictionary transform, run whenever an item is taken.
        seed: of the augmentation.
        slice_axis: with an axis of the (C, i, j, k) arrays, such as -1, items are the slices along it; without, they
            are the volumes.
        repeats: how often an epoch takes each item, augmented anew each time; for few volumes with many windows.
        labels: how many labels there are; a label map with a higher value is refused.
        must_occur: of the labels 1, 2, … the last that at least one item should have; one that none has is told of.
        keys: what is kept of an item; each must be there.
        progress: show a bar while preparing.
        cache_dir: folder of a `PreparedCache`; None, nothing is kept on disk.
        cache_limit_gb: size of that folder to stay below.
        memory_share: of the machine's memory, what prepared items may take before the others are mapped from disk.

    Attributes:
        occurring: values above 0, up to `labels` or `must_occur`, that at least one item's label map has.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable[[dict[str, Any]], dict[str, Any]],
        augmentation: Callable[[dict[str, Any]], Any] | None = None,
        seed: int = 0,
        slice_axis: int | None = None,
        repeats: int = 1,
        labels: int | None = None,
        must_occur: int = 0,
        keys: Sequence[str] = ("image", "label"),
        progress: bool = True,
        cache_dir: str | Path | None = None,
        cache_limit_gb: float = 50.0,
        memory_share: float = 0.4,
    ) -> None:
        self.data = list(data)
        self.transform = transform
        self.augmentation = augmentation
        self.seed = seed
        self.slice_axis = slice_axis
        self.labels = labels
        self._sought = max(labels or 0, must_occur)
        self.occurring: set[int] = set()
        self.keys = tuple(keys)
        self.epoch = 0
        self._cache = None if cache_dir is None else PreparedCache(cache_dir, transform, int(cache_limit_gb * 1e9))
        self._room_bytes = int(memory_share * _memory_bytes())
        self._prepared = [self._take(item) for item in tracked(self.data, "preparing images", progress)]
        absent = set(range(1, must_occur + 1)) - self.occurring
        if absent and self.data:
            names = ", ".join(str(label) for label in sorted(absent))
            _logger.warning(
                "label %s occurs in none of the %d items: the network can't learn it; check the labels and the split",
                names, len(self.data),
            )  # fmt: skip
        if self._room_bytes < 0 and cache_dir is None:
            _logger.warning(
                "the prepared images take much of this machine's memory; --cache_dir DIR maps them from disk"
            )
        self._index = [
            (case, position)
            for case, item in enumerate(self._prepared)
            for position in range(1 if slice_axis is None else item[self.keys[0]].shape[slice_axis])
        ] * repeats

    def _take(self, item: dict[str, Any]) -> dict[str, torch.Tensor]:
        """A prepared item, in memory while there is room for it."""
        for key in self.keys:
            if key not in item:
                raise InputError(f"{item.get('image')}: has no {key} in the datalist; add it or take the item out")
        sources = {key: item[key] for key in self.keys}
        try:
            cache = self._cache
            kept = self._prepare(sources) if cache is None else cache.get(sources, lambda: self._prepare(sources))
            if self.labels is not None:
                check_labels(item["label"], kept["label"].numpy(), self.labels)
            if self._sought:
                self.occurring |= _values(kept["label"].numpy(), self._sought)
        except Exception as error:
            cause = radseg_cause(error)
            raise (cause or InputError(f"{item.get('image')}: can't be prepared: {error}")) from error
        size = sum(value.numel() * value.element_size() for value in kept.values())
        if self._cache is not None and size > self._room_bytes:
            return kept
        self._room_bytes -= size
        return kept if self._cache is None else {key: value.clone() for key, value in kept.items()}

    def _prepare(self, sources: dict[str, Any]) -> dict[str, torch.Tensor]:
        prepared = self.transform(sources)
        # plain tensors: an augmentation would append to the operations recorded in a cached MetaTensor
        return {key: torch.as_tensor(np.asarray(prepared[key])) for key in self.keys}

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose augmentations the items get."""
        self.epoch = epoch

    def name_of(self, index: int) -> str:
        """What an item is of: its image as the datalist names it, and the slice along `slice_axis`, from 0."""
        case, position = self._index[index]
        name = str(self.data[case].get(self.keys[0]))
        return name if self.slice_axis is None else f"{name} (slice {position})"

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Any:
        case, position = self._index[index]
        item = dict(self._prepared[case])
        if self.slice_axis is not None:
            item = {key: value.select(self.slice_axis, position) for key, value in item.items()}
        if self.augmentation is None:
            return item
        if isinstance(self.augmentation, Randomizable):
            self.augmentation.set_random_state(seed=_item_seed(self.seed, self.epoch, index))
        try:
            return self.augmentation(item)
        except Exception as error:
            raise InputError(f"{self.name_of(index)}: can't be augmented: {one_line(error)}") from error


def _values(label: npt.NDArray[Any], highest: int) -> set[int]:
    """Which of the whole numbers from 1 to `highest` occur; a part at a time, since counting needs eight bytes each."""
    flat, found = label.reshape(-1), np.zeros(highest + 1, bool)
    for start in range(0, flat.size, _COUNTED_AT_ONCE):
        part = np.clip(flat[start : start + _COUNTED_AT_ONCE], 0, highest + 1).astype(np.intp)
        found |= np.bincount(part, minlength=highest + 2)[:-1] > 0
    return set(np.flatnonzero(found).tolist()) - {0}


def _item_seed(seed: int, epoch: int, index: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}/{index}".encode(), digest_size=4).digest(), "big")


def _memory_bytes() -> int:
    """Main memory of this machine, or what its container may use of it."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(machine, int(text)) if text.isdigit() else machine
