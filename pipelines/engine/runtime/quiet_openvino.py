"""The package OpenVINO without its telemetry.

Importing `openvino` alone reports to Google Analytics that it was imported, and so does each conversion, unless its
package `openvino_telemetry` isn't there. So for this process it isn't.
"""

import functools
import importlib
import sys
from types import ModuleType
from typing import Any


def openvino() -> Any:
    """The module `openvino`.

    Raises:
        ImportError: it isn't installed.
    """
    return _quietly("openvino")


@functools.cache
def openvino_core() -> Any:
    """The one `Core` of this process, which is never let go.

    Its CPU plugin puts a signal stack of its own in place of Python's and, destroyed, may leave one that is freed: the
    next signal that Python handles, such as Ctrl-C, would end the process.

    Raises:
        ImportError: OpenVINO isn't installed.
    """
    return openvino().Core()


def openvino_part(name: str) -> Any:
    """The module `openvino.<name>`.

    Raises:
        ImportError: OpenVINO isn't installed.
    """
    return _quietly(f"openvino.{name}")


def _quietly(name: str) -> ModuleType:
    # None makes the import of it fail, after which OpenVINO takes its own stand-in that does nothing
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module(name)
