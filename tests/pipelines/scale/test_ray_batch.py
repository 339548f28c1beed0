"""A batch on a Ray cluster is the batch that this process would have done, whatever dies on the way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.scale import ray_connection, segment_on_ray
from radseg.pipelines.segment import segment

pytest.importorskip("ray", reason="the extra [ray] is not installed")

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "sample_data" / "spine" / "imagesTr"
_WITHIN_S = 480.0
_OF_THE_RUN = ("manifest.jsonl", "summary.csv", "index.html")
_OWN = ("seconds", "peak_memory_mb", "engine")  # what differs from run to run


@pytest.fixture
def options(small_weights: dict[str, Path], small: dict[str, Any]) -> dict[str, Any]:
    return {"weights": str(small_weights["spine"]), "progress": False, **small["spine"]}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images, a DICOM series, a zip of an image, and an image that can't be read."""
    (tmp_path / "images").mkdir()
    for name in ("spine01", "spine04"):
        shutil.copy(SAMPLES / f"{name}.nii.gz", tmp_path / "images")
    series = sorted((SAMPLES.parent / "dicom").iterdir())[0]
    shutil.copytree(series, tmp_path / "images" / series.name)
    with zipfile.ZipFile(tmp_path / "images" / "packed.zip", "w") as packed:
        packed.write(SAMPLES / "spine03.nii.gz", "zipped.nii.gz")
    whole = (SAMPLES / "spine02.nii.gz").read_bytes()
    (tmp_path / "images" / "torn.nii.gz").write_bytes(whole[: len(whole) // 2])
    return tmp_path / "images"


def _copy(images: Path, times: int) -> None:
    """Puts copies of an image with the others."""
    for number in range(times):
        shutil.copy(SAMPLES / "spine05.nii.gz", images / f"copy{number:02}.nii.gz")


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def _lines(out: Path) -> dict[str, dict[str, Any]]:
    """The manifest by case, each of which is in it once."""
    rows = _rows(out)
    by_case = {row["case"]: {key: value for key, value in row.items() if key not in _OWN} for row in rows}
    assert len(rows) == len(by_case)
    return by_case


def _files(out: Path) -> dict[str, bytes]:
    """All files but those that tell seconds and the order of cases, by their names; hidden ones too."""
    files = [file for file in out.rglob("*") if file.is_file() and file.name not in _OF_THE_RUN]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of each process, by its id."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            stat, command = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        found[int(stat.split()[0])] = (int(stat.rpartition(")")[2].split()[1]), command.decode(errors="replace"))
    return found


def _below(process: int) -> dict[int, str]:
    """Command lines of all descendants of a process, by their ids."""
    everyone = _processes()
    family = {process}
    while grown := {one for one, (parent, _) in everyone.items() if parent in family} - family:
        family |= grown
    return {one: everyone[one][1] for one in family - {process} if one in everyone}


def _worker_of(process: int) -> int | None:
    """A worker below a raylet, or below the process that started it."""
    return next((one for one, command in _below(process).items() if command.startswith("ray::CaseActor")), None)


def _listening(processes: set[int]) -> set[str]:
    """The addresses, in hexadecimal, at which processes listen."""
    inodes = set()
    for process in processes:
        for handle in Path(f"/proc/{process}/fd").glob("*"):
            try:
                inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = row.split()
            if columns[3] == "0A" and columns[9] in inodes:
                addresses.add(columns[1].split(":")[0])
    return addresses


def _until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        threading.Event().wait(0.02)
    raise TimeoutError("waited in vain")


def _count_lines(out: Path) -> int:
    file = out / "manifest.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder that Ray's sockets can lie below; their paths have at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="rr", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_ray(short_folder: Path, options: dict[str, Any]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a batch on Ray in a process of its own."""
    started = []

    def start(inputs: Path, output_dir: Path, **more: Any) -> subprocess.Popen[str]:
        order = {"bundle": "spine", "inputs": str(inputs), "output_dir": str(output_dir), **options, **more}
        environment = {**os.environ, "TMPDIR": str(short_folder)}
        command = [sys.executable, str(Path(__file__).with_name("batch_on_ray.py")), json.dumps(order)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a batch in a process of its own came to."""
    out, _ = process.communicate(timeout=_WITHIN_S)
    return dict(json.loads(out.splitlines()[-1]))


def test_a_local_ray_gives_the_same_files_and_manifest_and_leaves_nothing_behind(
    images: Path, options: dict[str, Any], tmp_path: Path, short_folder: Path, on_ray: Any
) -> None:
    process = on_ray(images, tmp_path / "there", address="local")
    _until(lambda: _worker_of(process.pid))
    family = {process.pid: "", **_below(process.pid)}
    addresses = _listening(set(family))
    raylet = next(one for one, command in family.items() if "/raylet/raylet" in command)
    environment = Path(f"/proc/{raylet}/environ").read_bytes().split(b"\0")
    here = segment("spine", images, tmp_path / "here", **options)
    there = _ended(process)
    assert sorted(there["done"]) == sorted(here.done)
    assert len(there["done"]) == 4
    assert there["failed"] == here.failed
    assert list(there["failed"]) == ["torn"]
    assert _files(tmp_path / "there") == _files(tmp_path / "here")
    assert _lines(tmp_path / "there") == _lines(tmp_path / "here")
    # on this machine alone, and nobody is told
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert addresses
    assert b"RAY_USAGE_STATS_ENABLED=0" in environment
    assert b"RAY_AUTH_MODE=token" in environment
    # nothing is left
    _until(lambda: not set(family) & set(_processes()))
    assert list(short_folder.iterdir()) == []
    assert [name for name in there["changed"] if name == "SIGTERM" or "RAY" in name] == []


@pytest.fixture
def two_nodes() -> Iterator[dict[str, Any]]:
    """A cluster of two nodes with a CPU each: its address, and the ids of their raylets, the head's first."""
    folder = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))
    command = [sys.executable, str(Path(__file__).with_name("two_nodes.py")), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        family = _below(process.pid)
        process.communicate(timeout=_WITHIN_S)
        for one in set(family) & set(_processes()):  # the workers of a raylet that was killed may take a moment
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_a_killed_worker_and_a_killed_node_cost_no_case_and_double_none(
    two_nodes: dict[str, Any], images: Path, options: dict[str, Any], tmp_path: Path, on_ray: Any
) -> None:
    _copy(images, 14)
    out = tmp_path / "there"
    process = on_ray(images, out, address=two_nodes["address"], workers=2)
    head, other = two_nodes["raylets"]
    _until(lambda: _count_lines(out) >= 2)
    os.kill(_until(lambda: _worker_of(head)), signal.SIGKILL)
    lines = _count_lines(out)
    _until(lambda: _count_lines(out) > lines and _worker_of(other))
    os.kill(other, signal.SIGKILL)
    there = _ended(process)
    here = segment("spine", images, tmp_path / "here", **options)
    assert there["deaths"] >= 2
    assert sorted(there["done"]) == sorted(here.done)
    assert len(there["done"]) == 18
    assert there["failed"] == here.failed
    assert _files(out) == _files(tmp_path / "here")
    by_case, expected = _lines(out), _lines(tmp_path / "here")
    for name, line in by_case.items():
        if "line written after an interruption" in line.get("warnings", ()):  # it was in place when its process died
            expected[name]["warnings"].append("line written after an interruption")
    assert by_case == expected


@pytest.mark.long
def test_interrupted_it_leaves_no_workers_and_no_half_written_case_and_goes_on_later(
    two_nodes: dict[str, Any], images: Path, options: dict[str, Any], tmp_path: Path, on_ray: Any
) -> None:
    _copy(images, 30)
    out = tmp_path / "out"
    process = on_ray(images, out, address=two_nodes["address"], workers=2)
    _until(lambda: _count_lines(out) >= 2)
    # a worker that stands still keeps its case from being done, however late the interruption comes
    os.kill(_until(lambda: _worker_of(two_nodes["raylets"][1])), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_WITHIN_S)
    _until(lambda: not any(_worker_of(raylet) for raylet in two_nodes["raylets"]))
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    first = set(_lines(out))
    assert len(first) < 35
    later = segment("spine", images, out, **options)
    assert len([*later.done, *later.skipped]) == 34
    segment("spine", images, tmp_path / "here", **options)
    assert _files(out) == _files(tmp_path / "here")
    done = [line["case"] for line in _rows(out) if line["status"] == "done"]
    assert len(done) == len(set(done)) == 34


@pytest.mark.long
def test_a_case_that_kills_every_process_it_comes_to_fails_alone(
    images: Path, options: dict[str, Any], tmp_path: Path, on_ray: Any
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(ROOT / "bundles" / "spine", bundle)
    config = json.loads((bundle / "inference.json").read_text())
    die = "__import__('os').kill(__import__('os').getpid(), 9)"
    func = f"$lambda image: {die} if image.shape[-1] == 9 else image"
    killer = {"_target_": "Lambdad", "keys": "image", "func": func}
    config["preprocessing"]["transforms"].insert(1, killer)
    (bundle / "inference.json").write_text(json.dumps(config))
    nib.save(nib.load(SAMPLES / "spine03.nii.gz").slicer[:, :, :9], images / "killer.nii.gz")
    order = {"bundle": str(bundle), "trust_config": True}
    there = _ended(on_ray(images, tmp_path / "out", address="local", workers=2, **order))
    assert len(there["done"]) == 4
    assert set(there["failed"]) == {"torn", "killer"}
    assert "its process died 3 times" in there["failed"]["killer"]
    assert _lines(tmp_path / "out")["killer"]["status"] == "failed"
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


@pytest.fixture
def closed() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address at which something listens that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["nowhere", "ray://127.0.0.1:10001", "127.0.0.1:0", "127.0.0.1:65536"])
def test_an_address_that_isn_t_one_is_told_before_anything_is_loaded(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give local, auto, or HOST:PORT"):
        segment_on_ray("spine", SAMPLES, tmp_path / "out", address=address, weights="absent.pt")
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_isn_t_there_is_told_before_anything_is_loaded(closed: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't be reached .* check the address"):
        segment_on_ray("spine", SAMPLES, tmp_path / "out", address=closed, weights="absent.pt")
    assert not (tmp_path / "out").exists()


def test_on_a_machine_without_a_cluster_auto_says_so(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    with pytest.raises(ConfigError, match="no Ray cluster runs on this machine"):
        segment_on_ray("spine", SAMPLES, tmp_path / "out", address="auto", **options)


def test_auto_says_so_when_the_cluster_that_it_found_is_gone(
    closed: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", closed)
    with pytest.raises(ConfigError, match=f"{closed}: can't be reached"):
        segment_on_ray("spine", SAMPLES, tmp_path / "out", address="auto", **options)


@pytest.mark.long
def test_what_listens_but_isn_t_ray_ends_the_batch_in_one_line(
    silent: str, images: Path, tmp_path: Path, on_ray: Any
) -> None:
    told = _ended(on_ray(images, tmp_path / "out", address=silent))["error"]
    assert told.startswith(f"ConfigError: Ray cluster {silent}: can't be joined (")
    assert "\n" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Could not find any running Ray instance.\n  Please specify the one to connect to."),
        RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.12.1"),
    ],
)
def test_a_cluster_that_doesn_t_take_this_machine_is_told_in_one_line(
    error: Exception, silent: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def init(**settings: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ConfigError, match=r"can't be joined .* with the same Ray and Python") as caught:
        segment_on_ray("spine", SAMPLES, tmp_path / "out", address=silent, **options)
    assert "\n" not in str(caught.value)
    assert str(error).split()[-1] in str(caught.value)


@pytest.mark.parametrize(("inputs", "out"), [("az://box/images", "out"), ("here", "s3://box/out")])
def test_urls_are_refused_on_other_machines(inputs: str, out: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"reads and writes folders only; .* or use --ray local"):
        segment_on_ray("spine", inputs, out, address="10.0.0.1:6379", **options)


def test_without_ray_it_says_how_to_get_it(options: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'radseg\[ray\]'"):
        segment_on_ray("spine", SAMPLES, tmp_path / "out", address="local", **options)


def test_sockets_below_a_long_temporary_folder_have_short_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "long/" * 20)
    folder = ray_connection._temporary_folder()
    folder.rmdir()
    assert len(str(folder)) < 40


def test_neither_the_drivers_nor_the_verbs_import_ray_before_it_is_wanted() -> None:
    program = "import sys, radseg.pipelines.cli, radseg.pipelines.scale; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
