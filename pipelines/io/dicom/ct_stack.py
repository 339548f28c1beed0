"""The files of a CT series decoded into one stack of HU, several at a time, with the same result as one by one."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.functional_groups import is_enhanced
from radseg.pipelines.io.dicom.hounsfield import Rescale, mirror_of, rescale_of, to_hu
from radseg.pipelines.io.dicom.pixels import read_dataset, stored_frames
from radseg.pipelines.io.volume import Voxels

# Most decoders hold Python's lock, and GDCM's for JPEG 2000 starts threads of its own: more would only wait.
_MOST_THREADS = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SliceFile:
    """A file and where its frames go: frame index → place in the stack; frames that aren't named aren't used."""

    path: Path
    places: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class _Frame:
    """One frame's stored values with all that says what they mean, so that the dataset can be let go."""

    place: int
    stored: npt.NDArray[Any]
    rescale: Rescale
    mirror: int | None
    without_intercept: bool


def decode_stack(files: Sequence[SliceFile], shape_kji: tuple[int, int, int]) -> tuple[Voxels, list[str]]:
    """Decode every file's frames into their places.

    Returns:
        The stack (slice, row, column), int16 where each HU is a whole number that int16 holds, else float32; and what
        is worth a note.

    Raises:
        InputError: of the first file in order whose pixels can't be decoded or rescaled.
    """
    stack: Voxels = np.empty(shape_kji, np.int16)
    notes: dict[str, None] = {}
    padded = 0
    mirror: int | None = None
    read = _in_order(lambda file: list(_frames(file)), files) if len(files) > 1 else (_frames(file) for file in files)
    for number, frame in enumerate(frame for frames in read for frame in frames):
        if number == 0:
            mirror = frame.mirror
            if mirror is not None:
                notes["MONOCHROME1 with inverted stored values: inverted back"] = None
            if frame.without_intercept:
                notes["no RescaleIntercept: stored values taken as HU"] = None
        hu, padding = to_hu(frame.stored, replace(frame.rescale, mirror=mirror))
        if hu.dtype == np.float32 and stack.dtype == np.int16:
            stack = stack.astype(np.float32)
        if hu.shape != shape_kji[1:]:
            raise InputError(f"{files[0].path.parent}: a slice of {hu.shape} pixels among others of {shape_kji[1:]}")
        stack[frame.place] = hu
        padded += padding
    if padded:
        notes[f"{padded} padding voxels set to -1024 HU"] = None
    return stack, list(notes)


def _frames(file: SliceFile) -> Iterator[_Frame]:
    dataset = read_dataset(file.path)
    enhanced = is_enhanced(dataset)
    for number, stored in enumerate(stored_frames(dataset, file.path)):
        if number not in file.places:
            continue
        rescale = rescale_of(dataset, number if enhanced else None)
        if isinstance(rescale, str):
            raise InputError(f"{file.path}: {rescale}")
        without_intercept = not enhanced and dataset.get("RescaleIntercept") is None
        yield _Frame(file.places[number], stored, rescale, mirror_of(dataset, stored, rescale), without_intercept)


def _in_order(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Results in the order of the items; a few are worked on at a time, and no more are kept than that."""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
