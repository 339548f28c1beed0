"""Real stores on this machine: Azurite for Azure Blob and moto's server for S3, each started once and ended."""

import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# the name and key of the account that every Azurite has; they are published
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_PLACES = (ROOT / "node_modules" / ".bin", Path(sys.prefix) / "node" / "node_modules" / ".bin")
_STARTS_WITHIN_S = 30.0


@dataclass
class Server:
    """A store's server.

    Attributes:
        scheme: of its URLs.
        port: on 127.0.0.1.
        client: of the store's own maker, to look at what is there without radseg.
        environment: what tells radseg of it.
    """

    scheme: str
    port: int
    client: Any
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Box:
    """A new container or bucket."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        return f"{self.server.scheme}://{self.name}"

    def put(self, name: str, content: bytes | Path) -> str:
        data = content.read_bytes() if isinstance(content, Path) else content
        if self.server.scheme == "az":
            self.server.client.get_blob_client(self.name, name).upload_blob(data, overwrite=True)
        else:
            self.server.client.put_object(Bucket=self.name, Key=name, Body=data)
        return f"{self.url}/{name}"

    def names(self) -> list[str]:
        if self.server.scheme == "az":
            return sorted(blob.name for blob in self.server.client.get_container_client(self.name).list_blobs())
        return sorted(one["Key"] for one in self.server.client.list_objects_v2(Bucket=self.name).get("Contents", []))

    def read(self, name: str) -> bytes:
        if self.server.scheme == "az":
            return bytes(self.server.client.get_blob_client(self.name, name).download_blob().readall())
        return bytes(self.server.client.get_object(Bucket=self.name, Key=name)["Body"].read())


def connection_string(port: int, key: str = KEY) -> str:
    """What Azure's portal gives for an account, for an Azurite."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An Azurite server; the tests are skipped where it isn't installed."""
    blob = pytest.importorskip("azure.storage.blob", reason="the extra [azure] is not installed")
    pytest.importorskip("adlfs", reason="the extra [azure] is not installed")
    command = shutil.which("azurite-blob", path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, _PLACES)]))
    if command is None:
        pytest.skip(
            "azurite-blob isn't on PATH, in ./node_modules/.bin or in <virtual environment>/node/node_modules/.bin; "
            "`npm install --prefix .venv/node azurite` gets it"
        )
    port = free_port()
    folder = tmp_path_factory.mktemp("azurite")
    server = subprocess.Popen(
        [command, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder),
         "--silent", "--skipApiVersionCheck", "--disableTelemetry"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        _wait_until(server, b"successfully listens")
        with blob.BlobServiceClient.from_connection_string(connection_string(port)) as client:
            environment = {"AZURE_STORAGE_CONNECTION_STRING": connection_string(port)}
            yield Server("az", port, client, environment)
    finally:
        server.terminate()
        server.wait(_STARTS_WITHIN_S)


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    """moto's S3 server, in a process of its own."""
    boto3 = pytest.importorskip("boto3", reason="the extra [s3] is not installed")
    pytest.importorskip("s3fs", reason="the extra [s3] is not installed")
    pytest.importorskip("moto.server", reason="moto's server is not installed")
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait_until(server, b"Running on")
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        client = boto3.client(
            "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        yield Server("s3", port, client, environment)
        client.close()
    finally:
        server.terminate()
        server.wait(_STARTS_WITHIN_S)


@pytest.fixture
def clean_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No credentials but a test's own, the read cache in the test's folder, and no pause long."""
    from radseg.pipelines.io.store import storage
    from radseg.pipelines.io.store.settings import use_storage

    for name in list(os.environ):
        if name.startswith(("AZURE_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "BACKOFF_S", (0.01, 0.01, 0.01))
    use_storage()
    yield
    use_storage()


def _new_box(server: Server, monkeypatch: pytest.MonkeyPatch) -> Box:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"box{uuid.uuid4().hex}"
    if server.scheme == "az":
        server.client.create_container(name)
    else:
        server.client.create_bucket(Bucket=name)
    return Box(server, name)


@pytest.fixture(params=["azurite", "moto"])
def box(request: pytest.FixtureRequest, clean_storage: None, monkeypatch: pytest.MonkeyPatch) -> Box:
    """An empty container or bucket that radseg knows by the environment."""
    return _new_box(request.getfixturevalue(request.param), monkeypatch)


@pytest.fixture
def azure_box(azurite: Server, clean_storage: None, monkeypatch: pytest.MonkeyPatch) -> Box:
    """An empty container that radseg knows by the environment."""
    return _new_box(azurite, monkeypatch)


def _wait_until(server: subprocess.Popen[bytes], says: bytes) -> None:
    """Waits until a server says that it is up, and reads on so that it can go on talking."""
    up = threading.Event()

    def read() -> None:
        with server.stdout or io.BytesIO() as lines:
            for line in lines:
                if says in line:
                    up.set()

    threading.Thread(target=read, daemon=True).start()
    assert up.wait(_STARTS_WITHIN_S), "the server didn't come up"
