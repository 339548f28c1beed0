"""A Ray cluster to run on: one of this machine alone, started and ended here, or one that is there already."""

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError, one_line

LOCAL = "local"
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):\d{1,5}")
_OBJECT_STORE_BYTES = 96 << 20  # cases and their lines are small; Ray takes no less than 75 MiB
_REACHED_WITHIN_S = 5.0
_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less the zero
_SESSION_PATH_BYTES = 72  # of what Ray adds to its temporary folder
_LOCAL_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # else Ray puts this machine's outer address in the place of 127.0.0.1
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # other users of this machine can't use it; Ray would leave a token of its own in the home folder, for all to read
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(16),  # Ray reads it once in a process
}


@contextmanager
def connected(address: str, cpus: int) -> Iterator[Any]:
    """The module `ray`, connected to a cluster until the block ends.

    Args:
        address: "local" starts a Ray of this machine alone, on 127.0.0.1, without dashboard, metrics and usage
            statistics, and ends it; "auto" and "HOST:PORT" join the cluster that this machine is a node of.
        cpus: how many CPUs a local Ray may give out.

    Raises:
        ConfigError: Ray isn't installed or can't start, or there is no such cluster.
    """
    if address not in (LOCAL, "auto") and not _ADDRESS.fullmatch(address):
        raise ConfigError(f"Ray address {address!r}: give local, auto, or HOST:PORT of a cluster's head")
    with _kept_as_it_was(_LOCAL_SETTINGS if address == LOCAL else {"RAY_USAGE_STATS_ENABLED": "0"}):
        try:
            import ray
        except ImportError as error:
            raise ConfigError("Ray isn't installed; pip install 'radseg[ray]'") from error
        if ray.is_initialized():
            raise ConfigError("this process is connected to a Ray already; call ray.shutdown() first")
        folder = _temporary_folder() if address == LOCAL else None
        try:
            if folder is None:
                _join(ray, address)
            else:
                _start(ray, cpus, folder)
            yield ray
        finally:
            ray.shutdown()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _start(ray: Any, cpus: int, folder: Path) -> None:
    from ray._private import ray_constants

    enabled = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # what the setting says, if Ray was imported before
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
            _system_config={"enable_metrics_collection": False},
        )
    except Exception as error:
        raise ConfigError(f"Ray can't be started on this machine ({one_line(error)}); run without --ray") from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled


def _join(ray: Any, address: str) -> None:
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _REACHED_WITHIN_S).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            advice = "check the address, and that `ray start --head` runs there"
            raise ConfigError(f"Ray cluster {address}: can't be reached ({reason}); {advice}") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        advice = "this machine must be one of its nodes, with the same Ray and Python"
        raise ConfigError(f"Ray cluster {address}: can't be joined ({one_line(error)}); {advice}") from error


def _temporary_folder() -> Path:
    """A new folder whose path is short enough for Ray's sockets below it."""
    longest = _SOCKET_PATH_BYTES - _SESSION_PATH_BYTES - len("/radseg-ray-00000000")
    short = len(tempfile.gettempdir()) <= longest
    return Path(tempfile.mkdtemp(prefix="radseg-ray-", dir=None if short else "/tmp"))


@contextmanager
def _kept_as_it_was(settings: dict[str, str]) -> Iterator[None]:
    """Sets environment variables; at the end they, those that Ray set, and the handling of SIGTERM are as before."""
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_") or name == "PYTHONBREAKPOINT"]:
            del os.environ[name]
            os.environ.update({name: before[name]} if name in before else {})
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
