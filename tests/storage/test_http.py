"""A file behind a web address, whose query may hold a key, is fetched and called without the query."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from radseg.pipelines.cases import Case, digest, discover
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.store.local_copy import called, local_copy

IMAGE = Path(__file__).parents[2] / "sample_data" / "lung_ct" / "slices" / "lung01_14.png"


class Quiet(SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def address(clean_storage: None) -> Iterator[str]:
    """Of a web server with the folder of the image."""
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(IMAGE.parent))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_and_its_query_is_never_shown(address: str) -> None:
    (one,) = discover(f"{address}/{IMAGE.name}?sig=SECRET")
    (local,) = discover(IMAGE)
    assert isinstance(one, Case)
    assert isinstance(local, Case)
    assert (one.name, digest(one)) == (local.name, digest(local))
    assert called(one.source) == f"{address}/{IMAGE.name}"


def test_a_file_that_isnt_there_is_one_line(address: str) -> None:
    with pytest.raises(InputError, match=r"/none.png: no such file, folder or container; check the address$"):
        local_copy(f"{address}/none.png?sig=SECRET")
