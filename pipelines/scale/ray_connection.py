"""A Ray cluster to run on: one of this machine alone, started and ended here, or one that is there already."""

import importlib.util
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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError, one_line

LOCAL = "local"
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):\d{1,5}")
_OBJECT_STORE_BYTES = 96 << 20  # cases and their lines are small; Ray takes no less than 75 MiB
_REACHED_WITHIN_S = 5.0
_JOIN_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # one try of so many seconds; Ray would go on for a quarter of an hour
    "RAY_gcs_server_port_wait_time_s": "1",
    "RAY_py_gcs_connect_timeout_s": "10",
}
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


def check(address: str) -> None:
    """Looks whether there is any use in `connected`, in seconds and before anything else is done.

    Raises:
        ConfigError: the address isn't one, nobody answers there, or Ray isn't installed.
    """
    port = address.rpartition(":")[2]
    if address not in (LOCAL, "auto") and not (_ADDRESS.fullmatch(address) and 0 < int(port) < 65536):
        raise ConfigError(f"Ray address {address!r}: give local, auto, or HOST:PORT of a cluster's head")
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("Ray isn't installed; pip install 'radseg[ray]'")
    if address not in (LOCAL, "auto"):
        _reach(address)


@contextmanager
def connected(address: str, cpus: int) -> Iterator[Any]:
    """The module `ray`, connected to a cluster until the block ends.

    Args:
        address: "local" starts a Ray of this machine alone, on 127.0.0.1, without dashboard, metrics and usage
            statistics, and ends it; "auto" and "HOST:PORT" join the cluster that this machine is a node of.
        cpus: how many CPUs a local Ray may give out.

    Raises:
        ConfigError: Ray can't start, or there is no such cluster.
    """
    with _kept_as_it_was(_LOCAL_SETTINGS if address == LOCAL else _JOIN_SETTINGS):
        import ray

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
    try:
        with _loopback_kept():
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


def _join(ray: Any, address: str) -> None:
    from ray._private import services

    try:
        where = services.get_ray_address_from_environment(address, None) if address == "auto" else address
    except ConnectionError as error:
        raise ConfigError("no Ray cluster runs on this machine; `ray start` makes it a node of one") from error
    host, port = _reach(where)
    with ExitStack() as until_joined:
        if host.startswith("127.") or host in ("localhost", "::1"):
            try:
                _reach(f"{ray.util.get_node_ip_address()}:{port}")
            except ConfigError:
                until_joined.enter_context(_loopback_kept())
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            reason = one_line(error).partition(". Last connection error")[0]
            advice = "this machine must be one of its nodes, with the same Ray and Python"
            raise ConfigError(f"Ray cluster {address}: can't be joined ({reason}); {advice}") from error


def _reach(address: str) -> tuple[str, int]:
    """Host and port of an address at which something listens.

    Raises:
        ConfigError: nothing does.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        socket.create_connection((host, int(port)), _REACHED_WITHIN_S).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "check the address, and that `ray start --head` runs there"
        raise ConfigError(f"Ray cluster {address}: can't be reached ({reason}); {advice}") from error
    return host, int(port)


@contextmanager
def _loopback_kept() -> Iterator[None]:
    """Keeps Ray from taking this machine's outer address wherever it reads 127.0.0.1."""
    from ray._private import ray_constants

    enabled = ray_constants.ENABLE_RAY_CLUSTER  # read from the environment when Ray was imported
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled


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
