"""Small pieces of work side by side, each on one thread.

Where torch shares a single slice out among its threads, they spend their time waiting for each other, and on a busy
machine several times what the work takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(task: Callable[[int], None], numbers: Sequence[int]) -> None:
    """Run a task for each number on as many threads as torch has; torch keeps to one thread inside of it.

    Raises:
        Exception: whatever a task raised first.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(numbers) < 2:
        for number in numbers:
            task(number)
        return
    inference = torch.is_inference_mode_enabled()  # a thread doesn't inherit it

    def run(number: int) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            task(number)

    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(run, numbers))
    finally:
        torch.set_num_threads(threads)
