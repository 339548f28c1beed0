"""A process that reads images, so that a test sees when reading ends it: a path a line in, a JSON line a path out."""

import json
import resource
import sys
import warnings
from pathlib import Path

MOST_MEMORY = 6 << 30


def read(path: Path, modality: str) -> str:
    """How reading a file or folder ends: "volume", "refused: …", "error: …", or "crash: …" for what isn't said so."""
    from radseg.pipelines.cases import Case, discover
    from radseg.pipelines.errors import InputError
    from radseg.pipelines.io import load_volume

    try:
        found = list(discover(path, modality=modality))
        cases = [one for one in found if isinstance(one, Case)]
        if not cases:
            return "refused: " + " | ".join(f"{one.source}: {one.reason}" for one in found)
        for case in cases:
            load_volume(case, modality=modality)
    except InputError as error:
        return f"error: {error}"
    except BaseException as error:
        import traceback

        return f"crash: {type(error).__name__}: {error} {traceback.format_exc()[-600:]}"
    return "volume"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    warnings.simplefilter("error", RuntimeWarning)
    for line in sys.stdin:
        modality, path = json.loads(line)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ended = read(Path(path), modality)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        sys.stdout.write(json.dumps([ended, grown // 1024]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
