"""A DICOMweb server is searched, read and written with patience, and only by those who may."""

import datetime
import ipaddress
import json
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.pacs.dicomweb import DicomwebServer, store
from radseg.pipelines.io.pacs.dicomweb_keys import values_of
from radseg.pipelines.io.pacs.dicomweb_session import Attempts, GoneError, Patience
from radseg.pipelines.io.pacs.dicomweb_url import parse
from radseg.pipelines.io.store.settings import use_storage

SERIES = "1.2.826.0.1.3680043.8.498.1"


@pytest.fixture
def studies(tmp_path: Path, factory: ModuleType) -> Path:
    """Five studies of one CT series with two slices each, of one patient each."""
    for number in range(1, 6):

        def change(_: int, dataset: Any, number: int = number) -> None:
            dataset.StudyInstanceUID, dataset.StudyDate = f"1.2.{number}", f"2026010{number}"
            dataset.PatientName, dataset.PatientID = f"DOE^PATIENT{number}", f"SECRET{number}"

        factory.write_series(tmp_path / "in" / str(number), factory.phantom(slices=2), uid=f"1.2.{number}.1",
                             change=change)  # fmt: skip
    return tmp_path / "in"


@pytest.fixture
def pacs(fake_pacs: Any, studies: Path) -> Any:
    fake_pacs.put(studies)
    return fake_pacs


def _credentials(tmp_path: Path, server: str, **entry: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps({"dicomweb": {server: entry}}))
    file.chmod(0o600)
    use_storage({"credentials": str(file), "cache_dir": str(tmp_path / "cache")})


def _studies(url: str, patience: Patience) -> list[str]:
    with DicomwebServer(parse(url), patience) as server:
        return [values_of(one, "StudyInstanceUID")[0] for one in server.studies()]


@pytest.mark.parametrize("cap", [1, 2, 5, 1000])
def test_every_page_is_asked_for(pacs: Any, patience: Patience, cap: int) -> None:
    pacs.cap = cap
    pacs.heeds_keys = False
    assert _studies(f"{pacs.url}?StudyDate=20260101-20260131", patience) == [f"1.2.{number}" for number in range(1, 6)]


def test_a_server_that_repeats_its_first_page_ends(pacs: Any, patience: Patience) -> None:
    pacs.heeds_offset = False
    pacs.heeds_keys = False
    assert len(_studies(f"{pacs.url}?PatientName=DOE*", patience)) == 5


def test_a_full_page_that_repeats_is_an_error(pacs: Any, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radseg.pipelines.io.pacs.dicomweb.PAGE", 2)
    pacs.heeds_keys = pacs.heeds_offset = False
    with pytest.raises(InputError, match="gives 2 studies at most and repeats them; narrow the query"):
        _studies(f"{pacs.url}?PatientName=DOE*", patience)


def test_a_server_that_ignores_keys_doesnt_widen_the_query(pacs: Any, patience: Patience) -> None:
    pacs.heeds_keys = False
    assert _studies(f"{pacs.url}?PatientID=SECRET3&StudyDate=20260101-20260104", patience) == ["1.2.3"]


def test_what_a_server_doesnt_tell_is_no_match(pacs: Any, patience: Patience) -> None:
    pacs.left_out = {"PatientID"}
    with DicomwebServer(parse(f"{pacs.url}?PatientID=SECRET3"), patience) as server:
        assert list(server.studies()) == []
        assert server.untold == {"PatientID"}


def test_the_instance_is_what_the_server_holds(pacs: Any, patience: Patience, tmp_path: Path) -> None:
    with DicomwebServer(parse(f"{pacs.url}/studies/1.2.1"), patience) as server:
        instances = server.instances("1.2.1", "1.2.1.1")
        assert len(instances) == 2
        for uid in instances:
            server.fetch("1.2.1", "1.2.1.1", uid, tmp_path / uid)
            assert (tmp_path / uid).read_bytes() == pacs.instances["1.2.1", "1.2.1.1", uid][0]


@pytest.mark.parametrize("cut", ["short", "open"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_that_is_cut_off_is_asked_for_again(
    pacs: Any, patience: Patience, clock: Any, tmp_path: Path, cut: str, times: int
) -> None:
    pacs.cut = [cut] * times
    with DicomwebServer(parse(f"{pacs.url}/studies/1.2.1"), patience) as server:
        uid = server.instances("1.2.1", "1.2.1.1")[0]
        server.fetch("1.2.1", "1.2.1.1", uid, tmp_path / "it")
    assert (tmp_path / "it").read_bytes() == pacs.instances["1.2.1", "1.2.1.1", uid][0]
    assert clock.pauses == [0.5, 1.0, 2.0][:times]
    assert not list(tmp_path.glob("*.part"))


def test_a_download_longer_than_the_patience_is_asked_for_again_when_it_breaks_off(
    pacs: Any, patience: Patience, clock: Any, tmp_path: Path
) -> None:
    answers = iter([ConnectionError("broken off"), "the instance"])

    def download() -> str:
        clock.now += 10 * patience.total_s
        answer = next(answers)
        if isinstance(answer, Exception):
            raise requests.exceptions.ChunkedEncodingError(answer)
        return answer

    assert Attempts("server", patience)("fetching an image", download) == "the instance"


def test_one_that_is_always_cut_off_is_one_line_and_no_file(pacs: Any, patience: Patience, tmp_path: Path) -> None:
    pacs.cut = ["short"] * 100
    with DicomwebServer(parse(f"{pacs.url}/studies/1.2.1"), patience) as server:
        uid = server.instances("1.2.1", "1.2.1.1")[0]
        with pytest.raises(InputError, match=r"downloading failed: the answer was cut off or damaged \(11 attempts\)"):
            server.fetch("1.2.1", "1.2.1.1", uid, tmp_path / "it")
    assert not list(tmp_path.glob("it*"))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(pacs: Any, patience: Patience, clock: Any, status: int) -> None:
    pacs.faults = {"/dw/studies": [(status, {})] * 3}
    pacs.heeds_keys = False
    assert len(_studies(f"{pacs.url}?PatientName=DOE*", patience)) == 5
    assert clock.pauses == [0.5, 1.0, 2.0]


def test_the_pause_is_the_one_that_the_server_asks_for(pacs: Any, patience: Patience, clock: Any) -> None:
    soon = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT")
    pacs.faults = {
        "/dw/studies": [(429, {"Retry-After": "7"}), (503, {"Retry-After": date}), (503, {"Retry-After": "?"})]
    }
    assert _studies(f"{pacs.url}?PatientID=SECRET1", patience) == ["1.2.1"]
    assert clock.pauses == [7.0, 0.5, 2.0]


def test_a_pause_beyond_the_patience_isnt_waited_for(pacs: Any, patience: Patience, clock: Any) -> None:
    pacs.faults = {"/dw/studies": [(429, {"Retry-After": "3600"})]}
    with pytest.raises(GoneError, match=r"too busy \(HTTP 429\); start again later"):
        _studies(f"{pacs.url}?PatientID=SECRET1", patience)
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("status", "error"), [(401, ConfigError), (403, InputError), (404, InputError), (400, InputError)]
)
def test_what_wont_pass_isnt_tried_again(
    pacs: Any, patience: Patience, clock: Any, status: int, error: type[Exception]
) -> None:
    pacs.faults = {"/dw/studies": [(status, {})] * 9}
    with pytest.raises(error, match=f"HTTP {status}") as caught:
        _studies(f"{pacs.url}?PatientID=SECRET1", patience)
    assert clock.pauses == []
    assert len(pacs.requests) == 1
    assert "SECRET" not in str(caught.value)
    assert "PATIENT in" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_another_service_at_the_address_is_told_at_once(pacs: Any, patience: Patience, clock: Any) -> None:
    pacs.faults = {"/dw/studies": [(200, {})]}
    with pytest.raises(InputError, match="the answer isn't DICOMweb's"):
        _studies(f"{pacs.url}?PatientID=SECRET1", patience)
    assert clock.pauses == []


def test_a_server_that_never_comes_is_one_line_within_the_bound(
    new_fake_pacs: Any, patience: Patience, clock: Any
) -> None:
    with new_fake_pacs() as gone:
        url = f"{gone.url}?PatientID=SECRET1"
    with pytest.raises(GoneError, match=r"the server can't be reached \(\d+ attempts\); .* start again") as caught:
        _studies(url, patience)
    assert 50 < clock.now <= 60
    assert "\n" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_token_is_sent_and_never_told(
    pacs: Any, patience: Patience, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "token"
    token.write_text("TOKEN123\n")
    token.chmod(0o600)
    _credentials(tmp_path, pacs.origin, token_file="token")
    assert _studies(f"{pacs.url}?PatientID=SECRET1", patience) == ["1.2.1"]
    assert set(pacs.authorizations) == {"Bearer TOKEN123"}
    assert "TOKEN123" not in caplog.text
    assert "SECRET" not in caplog.text
    token.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        DicomwebServer(parse(pacs.url))


def test_credentials_are_for_their_own_server_alone(pacs: Any, patience: Patience, tmp_path: Path) -> None:
    _credentials(tmp_path, "http://127.0.0.1:1", user="me", password="SECRET")
    assert _studies(f"{pacs.url}?PatientID=SECRET1", patience) == ["1.2.1"]
    assert set(pacs.authorizations) == {None}


def test_credentials_dont_go_over_plain_http_to_another_machine(tmp_path: Path) -> None:
    _credentials(tmp_path, "http://pacs.example:8042", user="me", password="SECRET")
    with pytest.raises(ConfigError, match=r"aren't sent over plain http; give dicomweb\+https") as caught:
        DicomwebServer(parse("dicomweb+http://PACS.example:8042/dicom-web/studies/1"))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"user": "me"},
        {"password": "SECRET"},
        {"user": "me", "password": "SECRET", "token": "SECRET"},
        {"tokn": "SECRET"},
        {"token": ""},
        {"token": 3},
    ],
)
def test_half_credentials_are_refused_without_telling_them(tmp_path: Path, entry: Any) -> None:
    _credentials(tmp_path, "https://pacs.example", **entry)
    with pytest.raises(ConfigError, match=r"not of a known form; it holds .*token, token_file, user") as caught:
        DicomwebServer(parse("dicomweb+https://pacs.example/dicom-web/studies/1"))
    assert "SECRET" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "radseg test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "ca.pem", folder / "key.pem"


def test_a_certificate_counts_when_its_authority_is_given_and_only_then(
    new_fake_pacs: Any,
    studies: Path,
    certificate: tuple[Path, Path],
    patience: Patience,
    clock: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with new_fake_pacs(context) as pacs:
        pacs.put(studies)
        url = f"{pacs.url}?PatientID=SECRET1"
        with pytest.raises(ConfigError, match=r"TLS certificate isn't trusted; give the PEM file .* as .ca.") as caught:
            _studies(url, patience)
        assert "\n" not in str(caught.value)
        assert clock.pauses == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))  # not asked
        _credentials(tmp_path, pacs.origin, ca=str(certificate[0]), user="me", password="SECRET")
        assert _studies(url, patience) == ["1.2.1"]


def test_an_authority_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        _credentials(tmp_path, "https://pacs.example:443", ca=name)
        with pytest.raises(ConfigError, match=f"{name}: no PEM file of a certificate authority"):
            DicomwebServer(parse("dicomweb+https://pacs.example/studies/1"))


def _seg_like(path: Path, factory: ModuleType) -> pydicom.Dataset:
    """A file with pixels of one bit and a private element, to see that a server gets it as it is."""
    dataset = factory.ct_slice(factory.phantom()[:, :, 0], uid=f"{SERIES}.5")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    dataset.Modality, dataset.StudyInstanceUID = "SEG", "1.2.9"
    dataset.PatientName, dataset.PatientID = "DOE^PATIENT", "SECRET9"
    dataset.save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path)


def test_results_are_stored_and_come_back(
    new_orthanc: Callable[..., Any], tmp_path: Path, factory: ModuleType, patience: Patience
) -> None:
    orthanc = new_orthanc()
    sent = _seg_like(tmp_path / "segmentation.dcm", factory)
    for _ in range(2):  # sent again, it is well
        store(orthanc.url, [tmp_path / "segmentation.dcm"], patience=patience)
    assert len(orthanc.ask("/instances")) == 1
    with DicomwebServer(parse(f"{orthanc.url}/studies/1.2.9"), patience) as server:
        server.fetch("1.2.9", f"{SERIES}.5", sent.SOPInstanceUID, tmp_path / "back.dcm")
    assert pydicom.dcmread(tmp_path / "back.dcm") == sent
    web = pytest.importorskip("dicomweb_client.web", reason="dicomweb-client, another's client, isn't installed")
    others = web.DICOMwebClient(f"{orthanc.http}/dicom-web").retrieve_series("1.2.9", f"{SERIES}.5")
    assert others == [sent]


def test_what_a_real_server_refuses_is_said_with_its_reason(
    new_orthanc: Callable[..., Any], tmp_path: Path, factory: ModuleType
) -> None:
    orthanc = new_orthanc()
    _seg_like(tmp_path / "segmentation.dcm", factory)
    with pytest.raises(InputError, match=r"didn't store segmentation.dcm \(processing failure, reason code 0110H\)"):
        store(f"{orthanc.url}/studies/1.2.3", [tmp_path / "segmentation.dcm"])
    assert orthanc.ask("/instances") == []


def test_wrong_passwords_are_told_and_right_ones_work(
    new_orthanc: Callable[..., Any], tmp_path: Path, factory: ModuleType, patience: Patience, clock: Any
) -> None:
    orthanc = new_orthanc(users={"me": "PÄSS"})
    file = tmp_path / "segmentation.dcm"
    _seg_like(file, factory)
    with file.open("ab") as stream:
        stream.write(b"\xfc\xff\xfc\xff\x4f\x42\0\0" + (8 << 20).to_bytes(4, "little") + bytes(8 << 20))  # padding
    for entry in ({}, {"user": "me", "password": "WRONG"}):
        _credentials(tmp_path, orthanc.http, **entry)
        with pytest.raises(ConfigError, match=r"refuses access \(HTTP 401\)") as caught:
            store(orthanc.url, [file], patience=patience)
        with pytest.raises(ConfigError, match=r"refuses access \(HTTP 401\); check its entry under \"dicomweb\""):
            _studies(f"{orthanc.url}?PatientID=SECRET9", patience)
        assert "WRONG" not in str(caught.value)
    assert clock.pauses == []
    _credentials(tmp_path, orthanc.http, user="me", password="PÄSS")
    store(orthanc.url, [file], patience=patience)
    assert _studies(f"{orthanc.url}?PatientID=SECRET9", patience) == ["1.2.9"]


def _failed(code: int) -> dict[str, Any]:
    """An answer to storing, with a FailedSOPSequence."""
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [code]}}]}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((_failed(0xA700), 409), "out of resources, reason code A700H"),
        ((_failed(0x0106), 202), "reason code 0106H"),
        ((_failed(0x0122), 200), "SOP class not supported"),
        (("<xml/>", 202), "doesn't say whether it stored"),
        (("<html>", 413), "doesn't take the request .HTTP 413."),
        (("", 307, {"Location": "http://127.0.0.1:1/"}), "sends elsewhere to http://127.0.0.1:1 .HTTP 307."),
    ],
)
def test_what_isnt_stored_is_an_error(
    fake_pacs: Any, tmp_path: Path, factory: ModuleType, patience: Patience, answer: Any, said: str
) -> None:
    _seg_like(tmp_path / "segmentation.dcm", factory)
    fake_pacs.store_answer = answer
    with pytest.raises(InputError, match=said) as caught:
        store(fake_pacs.url, [tmp_path / "segmentation.dcm"], patience=patience)
    assert "SECRET" not in str(caught.value)


def test_storing_is_tried_again_and_a_duplicate_is_well(
    fake_pacs: Any, tmp_path: Path, factory: ModuleType, patience: Patience, clock: Any
) -> None:
    _seg_like(tmp_path / "segmentation.dcm", factory)
    fake_pacs.faults = {"/dw/studies": [(503, {}), (503, {})]}
    fake_pacs.store_answer = _failed(0x0111), 409, {}
    store(fake_pacs.url, [tmp_path / "segmentation.dcm"], patience=patience)
    assert clock.pauses == [0.5, 1.0]
    assert (tmp_path / "segmentation.dcm").read_bytes() in fake_pacs.stored[0]


def test_only_dicom_files_are_stored_and_only_where_that_makes_sense(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no DICOM")
    with pytest.raises(InputError, match=r"a\.dcm: is no DICOM file"):
        store("dicomweb+http://127.0.0.1:1/dicom-web", [tmp_path / "a.dcm"])
    with pytest.raises(InputError, match=r"b\.dcm: can't be read"):
        store("dicomweb+http://127.0.0.1:1/dicom-web", [tmp_path / "b.dcm"])
    for place in ("?PatientID=SECRET", "/studies/1/series/2"):
        with pytest.raises(ConfigError, match="can't be stored there") as caught:
            store(f"dicomweb+http://127.0.0.1:1/dicom-web{place}", [])
        assert "SECRET" not in str(caught.value)
