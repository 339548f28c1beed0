"""dcmtk's programs, told from those of the same names that pynetdicom puts into its environment."""

import os
import shutil
from pathlib import Path


def dcmtk(program: str) -> str | None:
    """Path of dcmtk's `program`, such as storescu; None where dcmtk isn't installed."""
    found = (shutil.which(program, path=folder) for folder in os.get_exec_path())
    return next((path for path in found if path and b"python" not in Path(path).read_bytes()[:200]), None)
