"""`radseg label start` for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from label_process import LabelProcess


@contextmanager
def annotation_server(folder: Path, studies: Path | str, bundles: str, *options: str) -> Iterator[LabelProcess]:
    """A server on a free port, stopped with the block.

    Args:
        folder: for its workspace and what it says.
        studies: images, or the address of an archive.
        bundles: what it serves, with commas.
        options: further ones of `radseg label start`.
    """
    server = LabelProcess(folder, studies, "--bundles", bundles, "--device", "cpu", *options)
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
