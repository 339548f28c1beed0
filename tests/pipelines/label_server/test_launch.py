"""A server starts only where it is safe, with what is there, and says in one line why not."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import radseg.bundles
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.label_server import launch
from radseg.pipelines.label_server.durable import locked
from radseg.pipelines.label_server.environment import environment
from radseg.pipelines.label_server.guard.tokens import Role, Tokens, read_or_make_key
from radseg.pipelines.label_server.models.versions import Versions
from radseg.pipelines.label_server.settings import Settings

pytest.importorskip("monailabel")
pytest.importorskip("cryptography")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    return folder


@pytest.fixture
def not_started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings of servers that would have been started."""
    seen: list[Settings] = []

    def run(settings: Settings, lock: int) -> tuple[Any, int]:
        seen.append(settings)
        return type("Process", (), {"pid": 0})(), 4321

    monkeypatch.setattr(launch, "_run", run)
    return seen


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for label.clinic.example and 192.0.2.7, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "label.clinic.example")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("192.0.2.7"))
    names = x509.SubjectAlternativeName([x509.DNSName("Label.Clinic.example"), address])
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "label.clinic.example"])
def test_only_this_machine_can_reach_it_unless_that_is_said_twice(
    studies: Path, tmp_path: Path, host: str, certificate: tuple[Path, Path], not_started: list[Settings]
) -> None:
    workspace = tmp_path / "ws"
    for more in ({}, {"allow_remote": True}, {"tls_cert": certificate[0], "tls_key": certificate[1]}):
        with pytest.raises(ConfigError, match="can be reached from other machines: give --allow-remote"):
            launch.start(studies, host=host, workspace=workspace, **more)  # type: ignore[arg-type]
    assert not workspace.exists()
    server = launch.start(
        studies, host=host, workspace=workspace, allow_remote=True, tls_cert=certificate[0], tls_key=certificate[1]
    )
    assert server.url.startswith("https://")
    assert {"label.clinic.example", "192.0.2.7", "127.0.0.1"} <= set(not_started[0].hosts)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_needs_no_certificate(
    studies: Path, tmp_path: Path, host: str, not_started: list[Settings]
) -> None:
    assert launch.start(studies, host=host, workspace=tmp_path / "ws").url.startswith("http://")


def test_a_certificate_and_its_key_belong_together(
    studies: Path, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    with pytest.raises(ConfigError, match="go together"):
        launch.start(studies, workspace=tmp_path / "ws", tls_cert=certificate[0])
    with pytest.raises(ConfigError, match="must be PEM"):
        launch.start(studies, workspace=tmp_path / "ws", tls_cert=certificate[0], tls_key=certificate[0])
    with pytest.raises(ConfigError, match=r"No such file"):
        launch.start(studies, workspace=tmp_path / "ws", tls_cert=certificate[0], tls_key=tmp_path / "none.pem")


def test_studies_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder of images"):
        launch.start(tmp_path / "none", workspace=tmp_path / "ws")


def test_a_password_in_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no password in a URL"):
        launch.start("http://anna:secret@127.0.0.1:8042/dicom-web", workspace=tmp_path / "ws")


def test_bundles_and_weights_are_checked_before_anything_is_made(studies: Path, tmp_path: Path) -> None:
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ConfigError, "no bundle 'lung'", {"bundles": ["lung"]}),
        (ConfigError, "must be BUNDLE=FILE", {"weights": ["model.pt"]}),
        (ConfigError, "must be BUNDLE=FILE", {"weights": ["lung=model.pt"]}),
        (InputError, "no such file of weights", {"weights": [f"spine={tmp_path}/none.pt"]}),
    ]
    for error, line, options in cases:
        with pytest.raises(error, match=line):
            launch.start(studies, workspace=tmp_path / "ws", **options)
    assert not (tmp_path / "ws").exists()


def test_all_bundles_with_weights_are_served_unless_some_are_named(
    studies: Path, tmp_path: Path, not_started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "bundles" / "lung_xray" / "models" / "model.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"")
    monkeypatch.setattr(radseg.bundles, "__file__", str(tmp_path / "bundles" / "__init__.py"))
    launch.start(studies, workspace=tmp_path / "ws")
    launch.start(studies, workspace=tmp_path / "ws", weights=[f"spine={weights}"])
    launch.start(studies, workspace=tmp_path / "ws", bundles=["spine", "spine"])
    assert [one.bundles for one in not_started] == [("lung_xray",), ("lung_xray", "spine"), ("spine",)]


def test_the_workspace_is_its_owners_alone_and_the_token_a_file_in_it(
    studies: Path, tmp_path: Path, not_started: list[Settings]
) -> None:
    server = launch.start(studies, workspace=tmp_path / "ws")
    for folder in ("", "guard", "tmp", "logs"):
        assert stat.S_IMODE((tmp_path / "ws" / folder).stat().st_mode) == 0o700
    assert stat.S_IMODE(server.token_file.stat().st_mode) == 0o600
    token = server.token_file.read_text()
    identity = Tokens(read_or_make_key(not_started[0].key_file)).check(token.strip())
    assert identity is not None
    assert identity.role is Role.ADMIN
    assert launch.start(studies, workspace=tmp_path / "ws").token_file.read_text() == token


def test_two_servers_never_share_a_workspace(
    studies: Path, tmp_path: Path, not_started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_GRACE_S", 0.0)
    left = tmp_path / "ws" / "tmp" / "in transit"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"0")
    with locked(tmp_path / "ws" / ".serving.lock"), pytest.raises(ConfigError, match="another server uses it"):
        launch.start(studies, workspace=tmp_path / "ws")
    assert left.exists()
    assert not_started == []
    launch.start(studies, workspace=tmp_path / "ws")
    assert not left.exists()


def test_what_a_killed_server_left_in_transit_is_cleared(
    studies: Path, tmp_path: Path, not_started: list[Settings]
) -> None:
    left = tmp_path / "ws" / "tmp" / "tmpx.nii.gz"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"0")
    launch.start(studies, workspace=tmp_path / "ws")
    assert not left.exists()


_WITHOUT = """
import importlib.util, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fastapi", "starlette", "uvicorn", "monailabel", "httpx", "cryptography"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in ("fastapi", "uvicorn", "monailabel") else find_spec(name)
from radseg.pipelines.cli import main
main()
"""


def test_without_monai_label_one_line_says_what_to_install(studies: Path, tmp_path: Path) -> None:
    arguments = ["label", "start", "--studies", str(studies), "--workspace", str(tmp_path / "ws")]
    ended = subprocess.run([sys.executable, "-c", _WITHOUT, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "make label-env" in ended.stderr
    assert "pip install --no-deps monailabel==0.8.5" in ended.stderr
    assert not (tmp_path / "ws").exists()


def test_the_servers_process_gets_our_settings_not_anybodys(tmp_path: Path) -> None:
    settings = Settings(
        str(tmp_path), str(tmp_path / "ws"), ("spine", "lung_ct"), (), "cpu", "127.0.0.1", 1, (), None, None, 10
    )
    settings.save(tmp_path / "settings.json")
    assert Settings.load(tmp_path / "settings.json") == settings
    given = {"PATH": "/bin", "PYTHONPATH": "/mine", "HOME": "/root", "MONAI_LABEL_CORS_ORIGINS": '["*"]'}
    login = {"MONAI_LABEL_DICOMWEB_USERNAME": "anna"}
    made = environment(settings, {**given, **login})
    assert "MONAI_LABEL_CORS_ORIGINS" not in made
    assert made["MONAI_LABEL_DICOMWEB_USERNAME"] == "anna"
    assert made["HOME"] == "/root"
    assert json.loads(made["MONAI_LABEL_APP_CONF"])["bundles"] == "spine,lung_ct"
    stand_ins, own = made["PYTHONPATH"].split(os.pathsep)
    assert Path(stand_ins, "torchvision").is_dir()
    assert own == "/mine"
    assert made["PATH"].endswith(f"{os.pathsep}/bin")


def test_a_token_for_somebody_else_has_its_role_and_end(radseg: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "anna"
    ended = radseg("label", "token", "reviewer", file, "--days", "7", "--workspace", tmp_path / "ws")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    identity = Tokens(read_or_make_key(tmp_path / "ws" / "guard" / "key")).check(file.read_text().strip())
    assert identity is not None
    assert (identity.name, identity.role) == ("anna", Role.REVIEWER)
    again = radseg("label", "token", "user", file, "--workspace", tmp_path / "ws")
    assert again.code == 1
    assert "is there already" in again.err
    wrong = radseg("label", "token", "boss", tmp_path / "x", "--workspace", tmp_path / "ws")
    assert wrong.code == 2
    assert "there are user, reviewer, admin" in wrong.err


def test_mistakes_on_the_command_line_end_in_one_line(
    radseg: Callable[..., Any], studies: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "ws"
    for code, line, arguments in (
        (2, "can be reached from other machines", ("--studies", studies, "--host", "0.0.0.0")),
        (1, "no such folder of images", ("--studies", tmp_path / "none")),
        (2, "no bundle 'x'", ("--studies", studies, "--bundles", "x")),
    ):
        ended = radseg("label", "start", *arguments, "--workspace", workspace)
        assert ended.code == code
        assert line in ended.err
        assert ended.err.count("\n") == 1
    for arguments in (("versions", "spine"), ("rollback", "spine", "--to", "1")):
        ended = radseg("label", *arguments, "--workspace", workspace)
        assert ended.code == 2
        assert "no versions of 'spine'" in ended.err


def test_versions_are_listed_and_an_earlier_one_serves_again(radseg: Callable[..., Any], tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    first = versions.prepare("lung_xray")
    assert versions.add("lung_xray", first / "models" / "model.pt", note={"origin": "trained", "labels": 3}) == 2
    listed = radseg("label", "versions", "lung_xray", "--workspace", tmp_path)
    assert listed.code == 0
    assert [one[:3] for one in listed.out.splitlines()] == ["  1", "* 2"]
    assert listed.out.splitlines()[1].endswith("origin trained, labels 3")
    assert radseg("label", "rollback", "lung_xray", "--to", "1", "--workspace", tmp_path).code == 0
    assert versions.current("lung_xray") == 1
    wrong = radseg("label", "rollback", "lung_xray", "--to", "7", "--workspace", tmp_path)
    assert wrong.code == 1
    assert "no version 7" in wrong.err
