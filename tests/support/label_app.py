"""The annotation server for tests: a server in a process of its own, and the sample radiographs."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests
from orthanc import free_port
from waiting import wait_for

from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.models.versions import Versions

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_data" / "lung_xray"
STAND_INS = ROOT / "pipelines" / "label_server" / "stand_ins"
_STARTS_WITHIN_S = 120.0


def radiographs(folder: Path, count: int = 12) -> Path:
    """A folder with the first sample radiographs."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in sorted((SAMPLES / "imagesTr").glob("*.png"))[:count]:
        shutil.copy(image, folder)
    return folder


def truth(image: str) -> Path:
    """The mask of a sample radiograph."""
    (found,) = (SAMPLES / "labelsTr").glob(f"{image}.*")
    return found


def pixels(mask: Path) -> np.ndarray:
    """Labels of a mask's file, (i, j, k)."""
    from radseg.pipelines.io import load_mask

    return load_mask(mask).array


def first_versions(workspace: Path, *names: str) -> Serving:
    """Bundles as a new server serves them."""
    versions = Versions(workspace)
    for name in names:
        versions.prepare(name)
    return Serving(versions, list(names), "cpu")


class LabelServer:
    """A server of MONAI Label in a process group of its own, without radseg's guard before it.

    Args:
        folder: for its app and log.
        studies: images, or the address of an archive.
        workspace: for versions.
        conf: further keys of the app's configuration.
        environment: further variables.
    """

    def __init__(
        self, folder: Path, studies: Path | str, workspace: Path, environment: dict[str, str] | None = None, **conf: str
    ) -> None:
        self.folder = folder
        self.studies = str(studies)
        self.conf = {"workspace": str(workspace), "device": "cpu", **conf}
        self.environment = environment or {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        app = folder / "app"
        app.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "pipelines" / "label_server" / "app" / "main.py", app)

    def start(self) -> "LabelServer":
        """Starts it and waits until it answers."""
        arguments = ["--app", str(self.folder / "app"), "--studies", self.studies]
        arguments += ["--host", "127.0.0.1", "--port", str(self.port)]
        for key, value in self.conf.items():
            arguments += ["--conf", key, value]
        programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = {**os.environ, "PYTHONPATH": str(STAND_INS), "PATH": programs, "OMP_NUM_THREADS": "1"}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "monailabel.main", "start_server", *arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**environment, **self.environment},
                start_new_session=True,
            )
        wait_for(self._answers, _STARTS_WITHIN_S, lambda: self.log()[-2000:])
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-2000:]
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/info/", timeout=60).status_code == 200
        return False

    def kill(self) -> None:
        """Ends it at once, with all that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(errors="replace")

    def get(self, path: str, **params: Any) -> Any:
        """What it answers, as JSON."""
        answer = requests.get(f"{self.url}{path}", params=params, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | None = None, **params: Any) -> requests.Response:
        """Its answer to a JSON body."""
        return requests.post(f"{self.url}{path}", json=body or {}, params=params, timeout=300)

    def infer(self, model: str, image: str, **params: Any) -> requests.Response:
        """A mask, as a file."""
        query = {"image": image, "output": "image", **params}
        return requests.post(f"{self.url}/infer/{model}", params=query, timeout=300)

    def submit(self, image: str, label: Path, tag: str = "final") -> requests.Response:
        """Its answer to a submitted label."""
        with label.open("rb") as stream:
            files = {"label": (label.name, stream)}
            query = {"image": image, "tag": tag}
            return requests.put(f"{self.url}/datastore/label", params=query, files=files, timeout=120)

    def ended(self, task: str, within_s: float = 240.0) -> dict[str, Any]:
        """A background task, once it has ended."""
        last: dict[str, Any] = {}

        def over() -> bool:
            last.update(self.get(task))
            return last["status"] not in ("SUBMITTED", "RUNNING")

        wait_for(over, within_s, lambda: f"{last}\n{self.log()[-2000:]}")
        return last


@contextlib.contextmanager
def serving(server: LabelServer) -> Iterator[LabelServer]:
    """A server that is started here and ended afterwards."""
    try:
        yield server.start()
    finally:
        server.kill()
