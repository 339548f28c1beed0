"""A batch on Ray, run as a process of its own: what Ray keeps in a process is not kept in that of the tests.

    python batch_on_ray.py '{"bundle": …, "inputs": …, "output_dir": …, "address": …}'

Prints the batch, or the error that a user would read, as one line of JSON.
"""

import json
import logging
import os
import signal
import sys

from radseg.pipelines.errors import RadsegError
from radseg.pipelines.scale import segment_on_ray


class _Deaths(logging.Handler):
    """Counts the workers that died."""

    counted = 0

    def emit(self, record):
        self.counted += "a worker died" in record.getMessage()


def _main():
    deaths = _Deaths()
    logging.getLogger("radseg.segment").addHandler(deaths)
    logging.getLogger("radseg.segment").setLevel(logging.DEBUG)
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    try:
        batch = segment_on_ray(**json.loads(sys.argv[1]))
    except RadsegError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    changed = [name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)]
    changed += ["SIGTERM"] if signal.getsignal(signal.SIGTERM) != handler else []
    told = {"done": batch.done, "skipped": batch.skipped, "failed": batch.failed, "notes": batch.notes}
    return {**told, "deaths": deaths.counted, "changed": changed}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_main()) + "\n")
