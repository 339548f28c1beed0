"""`radseg label start` as a process of its own, which can be killed and started again on the same workspace."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
from waiting import wait_for

_STARTS_WITHIN_S = 180.0
_COMMAND = "from radseg.pipelines.cli import main; main()"


class LabelProcess:
    """A guarded server.

    Args:
        folder: for its workspace and what it says.
        studies: folder of images, or address of an archive.
        options: further ones of `radseg label start`.
    """

    def __init__(self, folder: Path, studies: Path | str, *options: str) -> None:
        self.workspace = folder / "workspace"
        self.said = folder / "said"
        self.arguments = ["--studies", str(studies), "--workspace", str(self.workspace), "--port", "0", *options]
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.verify: str | bool = True

    def start(self) -> "LabelProcess":
        """Starts it and waits until it says where it serves."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self.said.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, "label", "start", *self.arguments],
                stdout=stream,
                stderr=stream,
                env=environment,
            )
        wait_for(self._serves, _STARTS_WITHIN_S, self.said.read_text)
        return self

    def _serves(self) -> bool:
        assert self.process is not None
        text = self.said.read_text()
        assert self.process.poll() is None, text
        self.url = text.partition("serving at ")[2].partition(" ")[0]
        return bool(self.url)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def token(self) -> str:
        """The first one."""
        return (self.workspace / "guard" / "token").read_text().strip()

    @property
    def server_pid(self) -> int:
        """The process that answers, which leads its group."""
        assert self.process is not None
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(child)

    def ask(self, method: str, path: str, token: str | None = None, **request: Any) -> requests.Response:
        """Its answer to somebody with a token."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", **request.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=600, verify=self.verify, **request)

    def raw(self, request: str) -> str:
        """Its answer to a request as it is written, with a valid token."""
        told = request.replace(
            "\n\n", f"\nHost: 127.0.0.1\nAuthorization: Bearer {self.token}\nConnection: close\n\n", 1
        )
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(told.replace("\n", "\r\n").encode())
            said = b""
            while chunk := connection.recv(65536):
                said += chunk
        return said.decode(errors="replace")

    def stop(self) -> int:
        """Asks it to end, and gives its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Ends what started the server, without a chance to clean up."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()


def gone(pid: int) -> bool:
    """Whether no such process is left; one that waits to be reaped is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
