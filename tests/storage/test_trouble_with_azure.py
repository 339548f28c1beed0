"""A lost, wrong or unreachable Azure store ends in one line that tells no secret, and leaves nothing half-done."""

import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.cases import discover
from radseg.pipelines.errors import InputError, RadsegError
from radseg.pipelines.io.store.local_copy import local_copy
from radseg.pipelines.io.store.settings import use_storage
from radseg.pipelines.io.store.storage import list_files

SAMPLES = Path(__file__).parents[2] / "sample_data" / "lung_ct"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class CuttingProxy:
    """Passes connections on to a server; `cuts` of them are cut when a long answer is half-way."""

    def __init__(self, port: int, cuts: int) -> None:
        self._to = port
        self.cuts = cuts
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answer: bool) -> None:
        try:
            while data := source.recv(4096):
                if answer and self.cuts and len(data) == 4096:  # a file's content, not a listing
                    self.cuts -= 1
                    sink.sendall(data[:100])
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with closing(end):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


@pytest.fixture
def proxy(azure_box: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], CuttingProxy]]:
    """Makes the connection to the container one that is cut so many times."""
    made = []

    def make(cuts: int) -> CuttingProxy:
        one = CuttingProxy(azure_box.server.port, cuts)
        made.append(one)
        _connect(monkeypatch, KEY, one.port)
        return one

    yield make
    for one in made:
        one.close()


def _connect(monkeypatch: pytest.MonkeyPatch, key: str, port: int) -> None:
    text = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
    text += f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)


def test_a_connection_cut_in_mid_download_is_made_again(azure_box: Any, proxy: Any) -> None:
    content = bytes(range(256)) * 4000
    url = azure_box.put("a.bin", content)
    cutting = proxy(2)
    assert local_copy(url).read_bytes() == content
    assert cutting.cuts == 0


def test_a_connection_cut_every_time_is_one_line_and_no_partial_file(
    azure_box: Any, proxy: Any, radseg: Callable[..., Any], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    url = azure_box.put("images/1.dcm", SAMPLES / "dicom" / "lung04" / "IM0001.dcm")
    proxy(10**6)
    ended = radseg(
        "segment", "lung_ct", f"{azure_box.url}/images", "-o", tmp_path / "out",
        "--weights", small_weights["lung_ct"], "--network_def#features", "[4,8,16,32]",
    )  # fmt: skip
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith(f"error: {url}: downloading failed: ")
    assert "the connection was lost 4 times; check address and network, then start again" in line
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize("verbose", [[], ["-v"]], ids=["quiet", "verbose"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wrong key", "the store refuses access; check the credentials"),
        ("unreachable", "the store can't be reached or the connection was lost 4 times; check address and network"),
        ("nonsense", "az:// can't be opened with these credentials"),
        ("no base64", "the store refuses access; check the credentials"),
    ],
)
def test_a_wrong_connection_string_is_one_line_and_never_printed(
    azure_box: Any, radseg: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, text: str, said: str,
    verbose: list[str], small_weights: dict[str, Path], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    secret = {"wrong key": "U0VDUkVU" + KEY[8:], "no base64": "SECRET!"}.get(text, KEY)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # and doesn't listen
        _connect(monkeypatch, secret, one.getsockname()[1] if text == "unreachable" else azure_box.server.port)
        if text == "nonsense":
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"nonsense {secret}")
        weights = ["--weights", small_weights["lung_ct"], "--network_def#features", "[4,8,16,32]"]
        run = ["segment", "lung_ct", azure_box.url, "-o", f"{azure_box.url}/out", *weights, *verbose]
        if verbose:
            with pytest.raises(RadsegError, match=said) as caught:
                radseg(*run)
            told = "".join(traceback.format_exception(caught.value)) + caplog.text
        else:
            ended = radseg(*run)
            assert ended.code in (1, 2)
            (line,) = ended.err.splitlines()
            assert said in line
            assert "Traceback" not in ended.err
            told = ended.out + ended.err + caplog.text
    assert secret not in told
    assert "AccountKey" not in told


def test_an_empty_container_is_one_line(azure_box: Any) -> None:
    with pytest.raises(InputError, match=f"^{azure_box.url}: holds no files; check the container and folder$"):
        discover(azure_box.url)


def test_a_connection_string_from_a_private_file(
    azure_box: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    azure_box.put("a.bin", b"x")
    file = tmp_path / "azure"
    file.write_text(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
    file.chmod(0o600)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    use_storage({"credentials": str(file)})
    assert [one.name for one in list_files(azure_box.url)[1]] == ["a.bin"]
