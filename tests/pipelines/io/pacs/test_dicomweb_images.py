"""What a PACS holds are the cases that its files would be in a folder, each downloaded when its turn comes."""

import errno
import hashlib
import logging
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import load_volume
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images
from radseg.pipelines.io.pacs.dicomweb import DicomwebServer
from radseg.pipelines.io.pacs.dicomweb_images import find_dicomweb
from radseg.pipelines.io.pacs.dicomweb_session import Patience
from radseg.pipelines.io.store.local_copy import called, fetch_trouble, with_urls

CT1, CT2, SEG, HEAD, KNEE = "1.2.1.1", "1.2.1.2", "1.2.1.9", "1.2.2.1", "1.2.3.1"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, factory: ModuleType) -> Path:
    """Study 1.2.1: two chest CTs and a SEG; 1.2.2: a head CT a month later; 1.2.3: an MR of a knee."""
    folder = tmp_path_factory.mktemp("files")
    for uid, modality, body_part, date in (
        (CT1, "CT", "CHEST", "20260105"),
        (CT2, "CT", "CHEST", "20260105"),
        (SEG, "SEG", "CHEST", "20260105"),
        (HEAD, "CT", "HEAD", "20260205"),
        (KNEE, "MR", "KNEE", "20260305"),
    ):

        def change(_: int, dataset: Any, uid: str = uid, told: tuple[str, ...] = (modality, body_part, date)) -> None:
            dataset.StudyInstanceUID = uid.rpartition(".")[0]
            dataset.Modality, dataset.BodyPartExamined, dataset.StudyDate = told
            dataset.StudyTime, dataset.SeriesNumber, dataset.SeriesDescription = "101112.5", 3, "Thin Lung"
            dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "DOE^JANE", "SECRET7", "19700131"

        factory.write_series(folder / uid, uid=uid, change=change, origin=(10.0, -20.0, float(len(uid))))
    return folder


@pytest.fixture(scope="module")
def orthanc(new_orthanc: Callable[..., Any], files: Path) -> Any:
    server = new_orthanc()
    server.put(files)
    return server


@pytest.fixture
def pacs(fake_pacs: Any, files: Path) -> Any:
    fake_pacs.put(files)
    return fake_pacs


def _uids(found: Any) -> list[str | None]:
    return sorted(one.series_uid for one in found if isinstance(one, Case))


def _trouble(found: Iterable[Case | Refusal], series: str) -> str:
    """Why the one case of a series that can't be read can't."""
    troubles = [fetch_trouble(one.files[0]) for one in found if isinstance(one, Case) and one.series_uid == series]
    [trouble] = [trouble for trouble in troubles if trouble is not None]
    return with_urls(trouble)


def _pixels(case: Case | Path) -> list[str]:
    """Digest of the pixel data of each file."""
    files = case.files if isinstance(case, Case) else sorted(case.iterdir())
    return sorted(hashlib.sha256(pydicom.dcmread(file, force=True).PixelData).hexdigest() for file in files)


@pytest.mark.parametrize(
    ("asked", "uids"),
    [
        ("/studies/1.2.1", [CT1, CT2]),
        (f"/studies/1.2.1/series/{CT2}", [CT2]),
        ("?StudyDate=20260101-20260131&Modality=CT&BodyPartExamined=CHEST", [CT1, CT2]),
        ("?Modality=CT&BodyPartExamined=chest", [CT1, CT2]),
        ("?StudyDate=20260201-&Modality=CT", [HEAD]),
        ("?PatientID=SECRET7", [CT1, CT2, HEAD]),
        ("?PatientName=DOE^J*&ModalitiesInStudy=SEG", [CT1, CT2]),
        ("?PatientName=DOE%5EJANE&SeriesDescription=Thin+Lung&Modality=CT", [CT1, CT2, HEAD]),
        ("?StudyInstanceUID=1.2.2,1.2.1&StudyTime=0800-1430&SeriesNumber=3", [CT1, CT2, HEAD]),
        ("?StudyInstanceUID=1.2.2,1.2.1&StudyTime=1430-", []),
        (f"?SeriesInstanceUID={HEAD}", [HEAD]),
    ],
)
def test_a_study_a_series_and_a_query_give_the_series_that_they_name(orthanc: Any, asked: str, uids: list[str]) -> None:
    found = list(find_dicomweb([orthanc.url + asked], Search()))
    assert _uids(found) == uids
    assert len([one for one in found if isinstance(one, Refusal)]) == (not uids)


def test_the_cases_are_those_of_the_files(orthanc: Any, files: Path) -> None:
    remote = {one.name: one for one in find_dicomweb([f"{orthanc.url}?PatientID=SECRET7"], Search())}
    local = {one.name: one for one in find_images([files], Search()) if isinstance(one, Case)}
    assert set(remote) == set(local)
    for name, case in local.items():
        there = remote[name]
        assert isinstance(there, Case)
        assert _pixels(there) == _pixels(case)
        assert (load_volume(there).array == load_volume(case).array).all()
        assert (load_volume(there).affine_ras == load_volume(case).affine_ras).all()


def test_a_series_of_two_urls_is_one_case(orthanc: Any) -> None:
    urls = [f"{orthanc.url}/studies/1.2.1", f"{orthanc.url}?Modality=CT", f"{orthanc.url}/studies/1.2.1"]
    assert _uids(find_dicomweb(urls, Search())) == [CT1, CT2, HEAD]


def test_a_case_is_called_by_its_url_and_its_folder_is_private_and_goes_with_it(orthanc: Any) -> None:
    found = find_dicomweb([f"{orthanc.url}?PatientID=SECRET7&Modality=CT&BodyPartExamined=HEAD"], Search())
    case = next(found)
    assert isinstance(case, Case)
    assert called(case.source) == f"{orthanc.url}/studies/1.2.2/series/{HEAD}"
    assert case.unpacked is not None
    folder = case.unpacked.path
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {path.name for path in case.files}
    top = next(parent for parent in folder.parents if parent.parent.name == "runs")
    assert stat.S_IMODE(top.stat().st_mode) == 0o700
    del case
    assert not folder.exists()
    assert list(found) == []


def test_a_series_is_fetched_when_its_turn_comes(pacs: Any) -> None:
    found = find_dicomweb([f"{pacs.url}/studies/1.2.1"], Search())
    assert not [path for path in pacs.requests if "/instances" in path]
    next(found)
    downloads = [path for path in pacs.requests if "/instances/" in path]
    assert len(downloads) == 6
    next(found)
    assert len([path for path in pacs.requests if "/instances/" in path]) == 12
    assert list(found) == []
    assert not [path for path in pacs.requests if SEG in path]  # never downloaded


def test_one_refusal_says_what_was_passed_over_where_nothing_is_usable(orthanc: Any) -> None:
    [knee] = find_dicomweb([f"{orthanc.url}/studies/1.2.3"], Search())
    assert isinstance(knee, Refusal)
    assert knee.reason == "no CT series in the study; passed over: 1 MR; check the address or the query"
    assert called(knee.source) == f"{orthanc.url}/studies/1.2.3"
    [both] = find_dicomweb([f"{orthanc.url}?PatientID=SECRET7"], Search(modality="PT"))
    assert isinstance(both, Refusal)
    assert "no PT series matches the query by PatientID; passed over: 3 CT, 1 MR, 1 SEG;" in both.reason
    [none] = find_dicomweb([f"{orthanc.url}?PatientID=NOBODY"], Search())
    assert isinstance(none, Refusal)
    assert none.reason == "no CT series matches the query by PatientID; check the address or the query"


def test_a_key_that_the_server_doesnt_tell_is_named(pacs: Any) -> None:
    pacs.left_out, pacs.heeds_keys = {"BodyPartExamined"}, False
    [none] = find_dicomweb([f"{pacs.url}?BodyPartExamined=HEAD"], Search())
    assert isinstance(none, Refusal)
    assert "the server tells no BodyPartExamined of what it has" in none.reason


@pytest.mark.parametrize("asked", ["/studies/9.9", f"/studies/1.2.1/series/{HEAD}", f"/studies/9.9/series/{CT1}"])
def test_a_wrong_uid_is_told_at_once(orthanc: Any, asked: str) -> None:
    with pytest.raises(InputError, match=r"the server has no such (study|series), or nothing in it; check the UID"):
        find_dicomweb([orthanc.url + asked], Search())


def test_the_whole_server_isnt_an_input(orthanc: Any) -> None:
    with pytest.raises(ConfigError, match=r"names everything on the server; add /studies/UID or a query"):
        find_dicomweb([orthanc.url], Search())


def test_only_the_series_that_is_asked_for_is_fetched(pacs: Any) -> None:
    found = list(find_dicomweb([f"{pacs.url}/studies/1.2.1"], Search(series=CT2)))
    assert _uids(found) == [CT2]
    assert [(one.series_uid, one.reason) for one in found if isinstance(one, Refusal)] == [
        (CT1, "another series was asked for")
    ]
    assert not [path for path in pacs.requests if f"{CT1}/instances" in path]


def test_a_bundle_that_takes_no_dicom_says_so_without_a_download(pacs: Any) -> None:
    [refusal] = find_dicomweb([f"{pacs.url}/studies/1.2.1"], Search(accepts=frozenset([InputKind.PNG])))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "DICOM series isn't taken here; give PNG"


def test_every_radiograph_is_a_case_of_its_own(
    orthanc: Any, new_orthanc: Callable[..., Any], factory: ModuleType, tmp_path: Path
) -> None:
    for number in range(3):
        factory.write_radiograph(tmp_path / f"{number}.dcm", factory.phantom(40, 50, 1)[:, :, 0].T + 1000 + number,
                                 StudyInstanceUID="1.7", InstanceNumber=number)  # fmt: skip
    server = new_orthanc()
    server.put(*tmp_path.glob("*.dcm"))
    found = list(find_dicomweb([f"{server.url}/studies/1.7"], Search(modality="DX")))
    assert len({one.name for one in found if isinstance(one, Case)}) == len(found) == 3
    for one in found:
        assert isinstance(one, Case)
        assert called(one.source).endswith(f"/instances/{one.instance_uid}")
        assert one.files[0].is_file()


def test_a_server_killed_in_mid_download_and_started_again_loses_nothing(
    new_orthanc: Callable[..., Any], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orthanc = new_orthanc()
    orthanc.put(files)
    fetch, lock = DicomwebServer.fetch, threading.Lock()
    fetched: list[str] = []
    up_again: list[bool] = []

    def killing(server: DicomwebServer, study: str, series: str, instance: str, target: Path) -> None:
        fetch(server, study, series, instance, target)
        with lock:
            fetched.append(instance)
            if len(fetched) in (3, 9):
                orthanc.kill()

    def pause(_: float) -> None:
        with lock:
            if orthanc.process is None:
                orthanc.start()
                up_again.append(True)

    monkeypatch.setattr(DicomwebServer, "fetch", killing)
    found = list(find_dicomweb([f"{orthanc.url}?PatientID=SECRET7"], Search(), patience=Patience(sleep=pause)))
    assert len(up_again) == 2
    assert _uids(found) == [CT1, CT2, HEAD]
    assert len(fetched) == 18
    for case in found:
        assert isinstance(case, Case)
        assert _pixels(case) == _pixels(files / str(case.series_uid))


def test_a_server_that_never_comes_back_is_one_line_and_the_next_server_goes_on(
    new_orthanc: Callable[..., Any], pacs: Any, files: Path, patience: Patience, clock: Any
) -> None:
    orthanc = new_orthanc()
    orthanc.put(files)
    found = find_dicomweb([f"{orthanc.url}/studies/1.2.1", f"{pacs.url}/studies/1.2.2"], Search(), patience=patience)
    assert next(found).series_uid in (CT1, CT2)
    orthanc.kill()
    assert next(found).series_uid == HEAD
    with pytest.raises(InputError, match=r"the server can't be reached \(\d+ attempts\)") as caught:
        next(found)
    assert "\n" not in str(caught.value)
    assert clock.now <= 60


def test_a_series_with_an_instance_that_fails_is_a_case_that_cant_be_read_and_the_rest_goes_on(
    pacs: Any, patience: Patience
) -> None:
    broken = next(instance for _, series, instance in pacs.instances if series == CT1)
    pacs.faults = {broken: [(500, {})] * 100}
    found = list(find_dicomweb([f"{pacs.url}/studies/1.2.1"], Search(), patience=patience))
    assert _uids(found) == [CT1, CT2]
    place = f"{pacs.url}/studies/1.2.1/series/{CT1}"
    assert _trouble(found, CT1).startswith(f"{place}: downloading failed: the server failed (HTTP 500) (11 attempts)")
    pacs.faults = {}
    [whole, _] = find_dicomweb([f"{pacs.url}/studies/1.2.1"], Search(), patience=patience)
    assert isinstance(whole, Case)
    assert whole.name == next(one.name for one in found if one.series_uid == CT1)  # another run takes it up


def test_a_radiograph_that_fails_doesnt_take_the_others_of_its_series_with_it(
    fake_pacs: Any, factory: ModuleType, tmp_path: Path, patience: Patience
) -> None:
    for number in range(3):
        factory.write_radiograph(tmp_path / f"{number}.dcm", factory.phantom(40, 50, 1)[:, :, 0].T + 1000 + number,
                                 StudyInstanceUID="1.7", InstanceNumber=number)  # fmt: skip
    fake_pacs.put(tmp_path)
    (_, series, lost), *_ = fake_pacs.instances
    names = {one.name for one in find_dicomweb([f"{fake_pacs.url}/studies/1.7"], Search(modality="DX"))}
    fake_pacs.faults = {lost: [(403, {})]}
    found = list(find_dicomweb([f"{fake_pacs.url}/studies/1.7"], Search(modality="DX"), patience=patience))
    assert {one.name for one in found if isinstance(one, Case)} == names
    assert [one.files[0].is_file() for one in found if isinstance(one, Case)].count(False) == 1
    assert "instances/" + lost + ": downloading failed: you may not have it (HTTP 403)" in _trouble(found, series)


def test_what_a_server_says_of_itself_cant_reach_the_terminal_or_break_the_search(pacs: Any) -> None:
    for _, dataset in pacs.instances.values():
        dataset["Modality"]._value = "\x1b[2JMR"
    [refusal] = find_dicomweb([f"{pacs.url}/studies/1.2.1"], Search())
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "no CT series in the study; passed over: 3 others; check the address or the query"


def test_a_series_that_isnt_listed_to_its_end_is_a_case_that_cant_be_read(pacs: Any, patience: Patience) -> None:
    for (_, series, _), (_, dataset) in pacs.instances.items():
        if series == CT1:
            dataset.NumberOfSeriesRelatedInstances = 7
    found = list(find_dicomweb([f"{pacs.url}/studies/1.2.1"], Search(), patience=patience))
    assert _trouble(found, CT1).endswith("the server has 7 instances of the series and lists 6; start again")
    assert _uids(found) == [CT1, CT2]


def test_a_damaged_instance_is_refused_and_never_missed(pacs: Any, patience: Patience) -> None:
    place = next(place for place in pacs.instances if place[1] == CT1)
    content, dataset = pacs.instances[place]
    pacs.instances[place] = content[:140] + b"\xff" * (len(content) - 140), dataset
    found = list(find_dicomweb([f"{pacs.url}/studies/1.2.1/series/{CT1}"], Search(), patience=patience))
    refusals = [one for one in found if isinstance(one, Refusal)]
    assert len(refusals) == 1
    assert refusals[0].series_uid == CT1


def test_a_full_disk_is_one_line(pacs: Any, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if path.suffix == ".part" and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", full)
    reason = _trouble(find_dicomweb([f"{pacs.url}/studies/1.2.2"], Search(), patience=patience), HEAD)
    assert "can't be written" in reason
    assert "(No space left on device); free some space or set --storage#cache_dir DIR" in reason
    assert "\n" not in reason


def test_no_patient_is_in_any_log_or_message(
    orthanc: Any, pacs: Any, patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    for url in (orthanc.url, pacs.url):
        for query in ("?PatientID=SECRET7", "?PatientName=DOE^JANE&PatientBirthDate=19700131", "?PatientID=SECRET8"):
            found = list(find_dicomweb([url + query], Search(), patience=patience))
            told += [f"{one.name} {called(one.source)}" if isinstance(one, Case)
                     else f"{called(one.source)} {with_urls(one.reason)}" for one in found]  # fmt: skip
    for status in (400, 401, 404, 500, 503):
        pacs.faults = {"/dw/studies": [(status, {})] * 20}
        with pytest.raises((InputError, ConfigError)) as caught:
            find_dicomweb([f"{pacs.url}?PatientID=SECRET7"], Search(), patience=patience)
        told.append(
            f"{caught.value!r} {caught.getrepr(style='value')}" if caught.value.__cause__ else str(caught.value)
        )
    assert len(told) > 10
    for secret in ("SECRET", "DOE", "JANE", "19700131", "PATIENT in"):
        assert secret not in "\n".join([*told, caplog.text])


@pytest.mark.parametrize("folder", ["cornerstone_testImages", "dicom2nifti_failing"])
def test_real_files_arrive_as_they_were_sent(new_orthanc: Callable[..., Any], real_data: Path, folder: str) -> None:
    source, orthanc = real_data / "dicom" / folder, new_orthanc()
    studies: set[str] = set()
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            if dataset.get("Modality") == "CT" and orthanc.ask("/instances", file.read_bytes())["Status"] == "Success":
                studies.add(str(dataset.StudyInstanceUID))
        except (OSError, pydicom.errors.InvalidDicomError):
            continue  # no DICOM, or nothing that Orthanc takes
    search = Search(accepts=frozenset([InputKind.DICOM]))
    local = {one.name: _pixels(one) for one in find_images([source], search) if isinstance(one, Case)}
    found = find_dicomweb([f"{orthanc.url}/studies/{study}" for study in sorted(studies)], search)
    remote = {one.name: _pixels(one) for one in found if isinstance(one, Case)}
    assert len(remote) == 3
    assert {name: local[name] for name in remote} == remote
