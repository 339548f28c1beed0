"""Debian's Orthanc with its DICOMweb plug-in on a free port of this machine, its storage in a folder of the test."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_STARTS_WITHIN_S = 60.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Orthanc:
    """A server that can be killed and started again on the same storage and port.

    Args:
        folder: for its storage, configuration and log.
        users: name and password of those who may use it; None lets everybody on this machine.
        dicom_port: where it takes C-STORE (called AE title ORTHANC); None switches that off.
        options: further keys of Orthanc's configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        dicom_port: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
        if program is None or not _PLUGIN.exists():
            pytest.skip("Debian's orthanc and orthanc-dicomweb aren't installed")
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.users = dict(users or {})
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        configuration = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(_PLUGIN)],
            "HttpPort": self.port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": self.users,
            "DicomServerEnabled": dicom_port is not None,
            "DicomPort": dicom_port or 4242,
            "DicomAet": "ORTHANC",
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "HttpThreadsCount": 8,
            **(options or {}),
        }
        self.configuration = folder / "orthanc.json"
        self.configuration.write_text(json.dumps(configuration))

    @property
    def http(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """URL of its DICOMweb service, as radseg takes it."""
        return f"dicomweb+{self.http}/dicom-web"

    def start(self) -> "Orthanc":
        """Starts it and waits until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([self.program, str(self.configuration)], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while True:
            try:
                self.ask("/system")
                return self
            except (urllib.error.URLError, ConnectionError):
                ended = self.process.poll() is not None
                assert not ended, f"Orthanc ended: {(self.folder / 'log').read_text(errors='replace')[-2000:]}"
                assert time.monotonic() < deadline, "Orthanc didn't come up"
                time.sleep(0.05)

    def kill(self) -> None:
        """Ends it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it."""
        self._end(signal.SIGTERM)

    def ask(self, path: str, data: bytes | None = None) -> Any:
        """What Orthanc's own interface answers; `data` is posted."""
        request = urllib.request.Request(self.http + path, data=data)
        for user, password in list(self.users.items())[:1]:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def put(self, *files: Path) -> None:
        """Stores files by Orthanc's own interface; folders are walked."""
        for file in files:
            for one in sorted(file.rglob("*")) if file.is_dir() else [file]:
                if one.is_file():
                    self.ask("/instances", one.read_bytes())

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, how)
            self.process.wait(_STARTS_WITHIN_S)
        self.process = None
