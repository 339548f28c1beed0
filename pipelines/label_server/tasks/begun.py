"""When a background task has begun: MONAI Label refuses a second one of its kind only from then on."""

import time

from monailabel.utils.async_tasks.utils import processes, tasks


def wait_until_begun(kind: str, within_s: float = 10.0) -> None:
    """Waits until what was asked for last runs or has ended, so that who asks next is told that one is running.

    Args:
        kind: train, batch_infer or scoring.
        within_s: seconds to wait at most, for a process that can't be started.
    """
    deadline = time.monotonic() + within_s
    while not processes(kind) and any(task["status"] == "SUBMITTED" for task in tasks(kind)):
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
