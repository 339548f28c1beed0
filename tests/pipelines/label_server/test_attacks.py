"""The real server, attacked: the nine ways in that MONAI Label has as it comes are shut, and it outlives the rest."""

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from label_app import radiographs, truth
from label_process import LabelProcess, gone
from waiting import wait_for

from radseg.pipelines.label_server.guard.tokens import Role, Tokens, read_or_make_key

pytest.importorskip("monailabel")
pytestmark = pytest.mark.long

IMAGE = "chest01_pa"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelProcess]:
    folder = tmp_path_factory.mktemp("attacked")
    running = LabelProcess(folder, radiographs(folder / "studies"), "--bundles", "lung_xray", "--device", "cpu")
    try:
        yield running.start()
        assert running.stop() == 143
    finally:
        running.kill()


def files(server: LabelProcess) -> set[str]:
    """All files around the server but its own log, Python's caches, and what is in transit."""
    base = server.workspace.parent
    known = (str(one.relative_to(base)) for one in base.rglob("*"))
    return {one for one in known if "/logs/" not in one and "/tmp/" not in one and not one.endswith((".pyc", "said"))}


def line(answer: requests.Response, *statuses: int) -> str:
    """The one line of a refusal."""
    assert answer.status_code in statuses, answer.text
    assert set(answer.json()) == {"detail"}
    said = str(answer.json()["detail"])
    assert "\n" not in said
    assert "Traceback" not in answer.text
    assert "site-packages" not in answer.text
    return said


def test_1_an_image_cannot_be_put_outside(server: LabelProcess) -> None:
    before = files(server)
    for name in ("../x", "/elsewhere/x", "..%2fx", "....//x"):
        for path in ("/datastore/image", "/datastore/"):
            sent = {"file": (f"{name}.png", b"0")}
            line(server.ask("PUT", path, params={"image": name}, files=sent), 400)
    line(server.ask("PUT", "/datastore/image", files={"file": ("../../x.png", b"0")}), 400)
    assert files(server) == before


def test_2_a_label_cannot_be_put_outside(server: LabelProcess) -> None:
    before = files(server)
    mask = truth(IMAGE).read_bytes()
    for image, tag in (
        (IMAGE, "../../x"),
        (IMAGE, "/elsewhere/x"),
        ("../x", "final"),
        (IMAGE, "a/b"),
        (IMAGE, ".."),
        ("x", "final"),
    ):
        sent = {"label": ("mask.png", mask)}
        line(server.ask("PUT", "/datastore/label", params={"image": image, "tag": tag}, files=sent), 400, 404)
    assert files(server) == before


def test_3_no_other_file_can_be_read(server: LabelProcess) -> None:
    secret = server.workspace / "guard" / "key"
    for image in (str(secret), "/etc/passwd", "../workspace/guard/key", f"file://{secret}"):
        line(server.ask("POST", "/infer/lung_xray", params={"image": image}), 400)
        line(server.ask("GET", "/datastore/image", params={"image": image}), 400)
        line(server.ask("GET", "/datastore/label", params={"label": image, "tag": "final"}), 400)
    line(
        server.ask(
            "POST", "/infer/lung_xray", params={"image": IMAGE}, data={"params": json.dumps({"image": str(secret)})}
        ),
        400,
    )
    for raw in (
        "/ohif/../../../config.py",
        "/ohif/%2e%2e/%2e%2e/config.py",
        "/ohif/..%2f..%2f..%2fconfig.py",
        "//etc/passwd",
    ):
        said = server.raw(f"GET {raw} HTTP/1.1\n\n")
        assert said.startswith(("HTTP/1.1 404", "HTTP/1.1 400")), said[:200]


def test_4_no_request_runs_code(server: LabelProcess, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    code = f"$__import__('pathlib').Path({str(proof)!r}).write_text('x')"
    for key in ("device", "client_id", "max_epochs", "network", "model"):
        line(server.ask("POST", "/train/lung_xray", json={key: code}), 400, 404)
        line(server.ask("POST", "/train/lung_xray", json={"client_id": {"a": [code]}}), 400)
        line(server.ask("POST", "/batch/infer/lung_xray", json={key: code}), 400, 404)
        line(
            server.ask("POST", "/infer/lung_xray", params={"image": IMAGE}, data={"params": json.dumps({key: code})}),
            400,
            404,
        )
        line(server.ask("POST", "/activelearning/random", json={key: code}), 400, 404)
        line(server.ask("POST", "/scoring/dice", json={key: code}), 400, 404)
    assert not proof.exists()
    assert server.ask("GET", "/train/").status_code == 404


def test_5_no_file_becomes_a_model(server: LabelProcess) -> None:
    weights = next(server.workspace.glob("lung_xray/v*/models/model.pt"))
    before = weights.read_bytes()
    line(server.ask("PUT", "/model/lung_xray", files={"file": ("x.pt", b"0")}), 404)
    line(server.ask("GET", "/model/lung_xray"), 404)
    line(server.ask("DELETE", "/model/lung_xray"), 404)
    assert weights.read_bytes() == before


def test_6_logs_and_reload_do_not_exist(server: LabelProcess) -> None:
    for method, path in (
        ("GET", "/logs/"), ("GET", "/logs/gpu"), ("POST", "/reload"), ("GET", "/docs"), ("GET", "/openapi.json"),
        ("GET", "/static/ohif/index.html"),
    ):  # fmt: skip
        assert line(server.ask(method, path), 404).startswith("nothing answers here")


def test_7_no_other_site_may_ask(server: LabelProcess) -> None:
    session = requests.Session()
    own = {"Origin": server.url}
    session.post(f"{server.url}/login", data={"token": server.token}, headers=own, timeout=60, allow_redirects=False)
    assert session.get(f"{server.url}/info/", timeout=60).status_code == 200
    for site in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        line(session.get(f"{server.url}/info/", headers=site, timeout=60), 403)
        line(session.post(f"{server.url}/train/lung_xray", json={}, headers=site, timeout=60), 403)
    answer = server.ask("GET", "/info/", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    line(server.ask("GET", "/info/", headers={"Host": "evil.example"}), 400)


def test_8_tokens_are_missing_forged_or_ended(server: LabelProcess) -> None:
    key = read_or_make_key(server.workspace / "guard" / "key")
    ended = Tokens(key, clock=lambda: 0).make("x", Role.ADMIN, 60)
    foreign = Tokens(bytes(32)).make("x", Role.ADMIN, 60)
    for token in ("", "x", ended, foreign, server.token[:-1], server.token + "."):
        for method, path in (("GET", "/info/"), ("POST", "/train/lung_xray"), ("GET", "/ohif/"), ("GET", "/logs/")):
            line(server.ask(method, path, token=token), 401)
    users = Tokens(key).make("x", Role.USER, 60)
    assert server.ask("GET", "/info/", token=users).status_code == 200
    line(server.ask("POST", "/train/lung_xray", token=users), 403)
    line(server.ask("DELETE", "/datastore/image", params={"id": IMAGE}, token=users), 403)


def test_9_the_unknown_is_told_in_one_line(server: LabelProcess) -> None:
    assert "did you mean lung_xray?" in line(server.ask("POST", "/infer/lung_xra", params={"image": IMAGE}), 404)
    assert "not in the datastore" in line(server.ask("POST", "/infer/lung_xray", params={"image": "none"}), 404)
    line(server.ask("GET", "/datastore/label", params={"label": IMAGE, "tag": "none"}), 404)
    line(server.ask("POST", "/activelearning/none"), 404)
    line(server.ask("POST", "/scoring/none"), 404)
    line(server.ask("POST", "/radseg/versions/lung_xray/rollback", params={"to": 99}), 404)
    line(server.ask("POST", "/infer/lung_xray", params={"image": IMAGE, "output": "dicom_seg"}), 400)
    broken = {"label": ("mask.png", b"no picture")}
    line(server.ask("PUT", "/datastore/label", params={"image": IMAGE}, files=broken), 400)
    for raw in ("GET /info HTTP/1.1\n\n", "BREW /info/ HTTP/1.1\n\n", "GET /info/\x01 HTTP/1.1\n\n"):
        said = server.raw(raw)
        assert said.startswith("HTTP/1.1 4"), said[:200]
        assert "Traceback" not in said
    assert server.ask("GET", "/info/").status_code == 200


def test_two_hundred_segmentations_at_once_are_all_served(server: LabelProcess) -> None:
    image = server.workspace.parent / "studies" / f"{IMAGE}.png"
    body = image.read_bytes()
    expected = server.ask("POST", "/infer/lung_xray", params={"image": IMAGE, "output": "image"}).content
    before = resident(server.server_pid)
    most = [before]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            most[0] = max(most[0], resident(server.server_pid))

    def one(number: int) -> tuple[int, bytes]:
        request: dict[str, Any] = {"params": {"image": IMAGE, "output": "image"}}
        if number % 4 == 0:  # and some that bring their image along
            request = {"params": {"output": "image"}, "files": {"file": ("new.png", body)}}
        answer = server.ask("POST", "/infer/lung_xray", **request)
        return answer.status_code, answer.content

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(200) as pool:
            running = [pool.submit(one, number) for number in range(200)]
            assert server.ask("GET", "/datastore/").status_code == 200
            answers = [each.result() for each in running]
    finally:
        over.set()
        watcher.join()
    assert [status for status, _ in answers] == [200] * 200
    assert {content for _, content in answers} == {expected}
    # 200 bodies and masks of a picture are nothing; 200 segmentations side by side would be gigabytes
    assert most[0] - before < 600 * 2**20


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    for said in Path(f"/proc/{pid}/status").read_text().splitlines():
        if said.startswith("VmRSS:"):
            return int(said.split()[1]) * 1024
    return 0


def test_nothing_that_names_an_image_or_token_is_logged(server: LabelProcess) -> None:
    server.ask("GET", "/datastore/image", params={"image": IMAGE})
    file = server.workspace / "logs" / "server.log"
    wait_for(lambda: "GET /datastore/image 200" in file.read_text(), 30)  # it is written once the answer has been read
    log = file.read_text()
    assert "POST /infer/{model} 200" in log
    said = log + server.said.read_text()
    for secret in (IMAGE, "chest", server.token, "studies", "127.0.0.1:5"):
        assert secret not in said.replace(server.workspace.as_posix(), ""), secret


def test_a_killed_server_started_again_has_all_that_was_submitted(tmp_path: Path) -> None:
    server = LabelProcess(tmp_path, radiographs(tmp_path / "studies", 4), "--bundles", "lung_xray", "--device", "cpu")
    try:
        server.start()
        sent = {"label": ("mask.png", truth(IMAGE).read_bytes())}
        assert server.ask("PUT", "/datastore/label", params={"image": IMAGE}, files=sent).status_code == 200
        token, worker = server.token, server.server_pid
        server.kill()
        wait_for(lambda: gone(worker), 30)
        server.start()
        assert server.ask("GET", "/info/", token=token).status_code == 200
        told = server.ask("GET", "/datastore/", params={"output": "all"}).json()
        assert list(told["objects"][IMAGE]["labels"]) == ["final"]
        (server.workspace / "guard" / "key").unlink()
        assert server.stop() == 143
        server.start()
        assert server.ask("GET", "/info/", token=token).status_code == 401
        assert server.ask("GET", "/info/").status_code == 200
        assert server.stop() == 143
    finally:
        server.kill()


def test_stopping_ends_a_training_in_mid_epoch_too(tmp_path: Path) -> None:
    server = LabelProcess(tmp_path, radiographs(tmp_path / "studies", 6), "--bundles", "lung_xray", "--device", "cpu")
    try:
        server.start()
        for image in sorted(one.stem for one in (tmp_path / "studies").glob("*.png")):
            sent = {"label": ("mask.png", truth(image).read_bytes())}
            assert server.ask("PUT", "/datastore/label", params={"image": image}, files=sent).status_code == 200
        assert server.ask("POST", "/train/lung_xray", json={"max_epochs": 500}).status_code == 200
        assert "running" in line(server.ask("POST", "/train/lung_xray", json={"max_epochs": 1}), 429).lower()
        worker = server.server_pid
        wait_for(lambda: children(worker), 60)
        training = children(worker)
        assert server.stop() == 143
        for pid in (worker, *training):
            wait_for(lambda pid=pid: gone(pid), 30)
        server.start()
        told = server.ask("GET", "/radseg/versions/lung_xray").json()
        assert (told["current"], len(told["versions"])) == (1, 1)
        started = server.ask("POST", "/train/", json={"client_id": "x", "lung_xray": {"max_epochs": 500}})
        assert started.json()["lung_xray"]["result"]["request"]["max_epochs"] == 500
        assert "running" in line(server.ask("POST", "/train/", json={}), 429)
        worker = server.server_pid
        wait_for(lambda: children(worker), 60)
        training = children(worker)
        server.kill()  # with no chance to clean up
        for pid in (worker, *training):
            wait_for(lambda pid=pid: gone(pid), 30)
    finally:
        server.kill()


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(one) for one in (task / "children").read_text().split()]
    return found


def test_tls_is_spoken_with_the_certificate_given(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl isn't installed")
    import subprocess

    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test"]
    made += ["-days", "1", "-addext", names, "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([openssl, *made], check=True, capture_output=True)
    options = ["--host", "0.0.0.0", "--allow-remote", "--tls-cert", str(tmp_path / "cert.pem")]
    options += ["--tls-key", str(tmp_path / "key.pem"), "--bundles", "lung_xray", "--device", "cpu"]
    server = LabelProcess(tmp_path, radiographs(tmp_path / "studies", 1), *options)
    try:
        server.start()
        server.url = f"https://127.0.0.1:{server.port}"
        server.verify = str(tmp_path / "cert.pem")
        assert server.ask("GET", "/info/").status_code == 200
        line(server.ask("GET", "/info/", token="x"), 401)
        assert server.stop() == 143
    finally:
        server.kill()
