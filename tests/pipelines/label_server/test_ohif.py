"""A study of an archive in OHIF, in a browser, and its corrected label back in the archive as DICOM SEG."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

pytest.importorskip("monailabel")

import SimpleITK
from annotation_server import annotation_server
from browser import Browser, Page
from label_process import LabelProcess
from ohif_page import Labelmap, connect, labelmap, log_in, next_sample, run_model
from orthanc import Orthanc
from slicer_plugin import SlicerPlugin, corrected

pytestmark = [
    pytest.mark.long,
    # MONAI Label's client leaves sockets and files to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(socket|_io):pytest.PytestUnraisableExceptionWarning"),
]

SAMPLES = Path(__file__).parents[3] / "sample_data" / "spine" / "dicom"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# of the model, as its bundle numbers them; the viewer numbers all names in the order of the alphabet
NAMES = {1: "vertebra", 2: "fractured vertebra"}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive with two CTs, one of them oblique."""
    server = Orthanc(tmp_path_factory.mktemp("orthanc")).start()
    server.put(*sorted(SAMPLES.iterdir()))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory, spine_weights: Path) -> Iterator[LabelProcess]:
    """A server before the archive."""
    options = ("--weights", f"spine={spine_weights}")
    with annotation_server(tmp_path_factory.mktemp("server"), f"{orthanc.http}/dicom-web", "spine", *options) as one:
        yield one


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A browser's page."""
    with Browser(tmp_path / "profile") as browser:
        yield browser.page(1500, 950)


def _uids(case: str) -> tuple[str, str]:
    header = pydicom.dcmread(next((SAMPLES / case).iterdir()), stop_before_pixels=True)
    return str(header.StudyInstanceUID), str(header.SeriesInstanceUID)


def _mask(server: LabelProcess, series: str, folder: Path) -> nib.Nifti1Image:
    answer = server.ask(
        "POST", "/infer/spine", params={"image": series, "output": "image"}, files={"params": (None, "{}")}
    )
    assert answer.status_code == 200, answer.text
    file = folder / "mask.nii.gz"
    file.write_bytes(answer.content)
    return nib.load(file)


def _seen_on(shown: Labelmap, mask: nib.Nifti1Image) -> npt.NDArray[np.uint8]:
    """What the viewer shows at the place of each voxel of a mask."""
    to_shown = np.linalg.inv(LPS_TO_RAS @ shown.affine_lps) @ mask.affine
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in mask.shape), indexing="ij"), axis=-1)
    at = indices @ to_shown[:3, :3].T + to_shown[:3, 3]
    rounded = np.rint(at).astype(int)
    np.testing.assert_allclose(at, rounded, atol=0.02)
    return shown.values[tuple(np.moveaxis(rounded, -1, 0))]


@pytest.mark.parametrize("case", ["spine06", "spine04"])
def test_a_study_is_opened_segmented_and_the_mask_lies_where_it_was_found(
    server: LabelProcess, page: Page, tmp_path: Path, case: str
) -> None:
    study, series = _uids(case)
    page.open(f"{server.url}/ohif/monai-label?StudyInstanceUIDs={study}")
    log_in(page, server.token)
    connect(page)
    before = page.picture(keep=tmp_path / "connected.png").astype(int)  # to look at
    run_model(page)
    after = page.picture(keep=tmp_path / f"{case}.png").astype(int)  # to look at
    assert (abs(after - before).max(axis=-1) > 12).mean() > 0.01

    mask = _mask(server, series, tmp_path)
    seen = _seen_on(labelmap(page), mask)
    numbers = {name: number for number, name in enumerate(sorted(NAMES.values()), start=1)}
    expected = np.zeros_like(seen)
    for value, name in NAMES.items():
        expected[np.asarray(mask.dataobj) == value] = numbers[name]
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(seen, expected)

    outside = [url for url in page.requests if not url.startswith(server.url)]
    kept_in = [said for said in page.complaints if "Content Security Policy" in said]
    assert [url for url in outside if not any(url in said for said in kept_in)] == []
    assert server.token not in " ".join(page.requests)


def test_the_panel_opens_the_next_image_to_label(server: LabelProcess, page: Page, tmp_path: Path) -> None:
    (opened, series), (other, other_series) = _uids("spine06"), _uids("spine04")
    _mask(server, series, tmp_path)
    label = {"label": ("label.nii.gz", (tmp_path / "mask.nii.gz").read_bytes())}
    kept = server.ask("PUT", "/datastore/label", params={"image": series, "tag": "final"}, files=label)
    assert kept.status_code == 200, kept.text
    told = server.ask("POST", "/activelearning/random", json={}).json()
    assert (told["StudyInstanceUID"], told["SeriesInstanceUID"], told["Modality"]) == (other, other_series, "CT")
    page.open(f"{server.url}/ohif/monai-label?StudyInstanceUIDs={opened}")
    log_in(page, server.token)
    connect(page)
    next_sample(page)
    page.picture(keep=tmp_path / "next.png")  # to look at
    assert page.run("location.href").rpartition("=")[2] == other


def test_without_the_token_the_viewer_shows_the_login_and_no_study(server: LabelProcess, page: Page) -> None:
    study, _ = _uids("spine06")
    page.open(f"{server.url}/ohif/monai-label?StudyInstanceUIDs={study}")
    log_in(page, "letmein")
    page.wait_for("document.body && /not made here/.test(document.body.innerText)")
    assert not [url for url in page.requests if "/proxy/" in url]


def test_a_corrected_label_is_in_the_archive_as_dicom_seg(
    server: LabelProcess, orthanc: Orthanc, tmp_path: Path
) -> None:
    slicer = SlicerPlugin(server.url, tmp_path)
    slicer.connect(server.token)
    images = slicer.client.datastore()["objects"]
    _, series = _uids("spine06")
    assert series in images
    label = corrected(slicer.segment("spine", series))
    before = _segmentations(orthanc)
    slicer.submit(series, label, list(NAMES.values()))
    (instance,) = _segmentations(orthanc) - before
    file = tmp_path / "seg.dcm"
    file.write_bytes(_download(orthanc, instance))
    seg = pydicom.dcmread(file)
    assert seg.SOPClassUID == pydicom.uid.SegmentationStorage
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series
    names = [str(one.SegmentLabel) for one in seg.SegmentSequence]
    assert names == list(NAMES.values())
    codes = [one.SegmentedPropertyTypeCodeSequence[0].CodeValue for one in seg.SegmentSequence]
    assert codes == ["51282000", "72704001"]

    _assert_segments(file, label, tmp_path)
    assert slicer.client.info()["datastore"]["completed"] == 1


def test_a_mask_can_be_had_as_dicom_seg(server: LabelProcess, tmp_path: Path) -> None:
    _, series = _uids("spine06")
    told = server.ask("GET", "/info/").json()["models"]["spine"]["label_info"]
    form = {"params": (None, json.dumps({"label_info": told}))}
    query = {"image": series, "output": "dicom_seg"}
    answer = server.ask("POST", "/infer/spine", params=query, files=form)
    assert answer.status_code == 200, answer.text
    file = tmp_path / "mask.dcm"
    file.write_bytes(answer.content)
    _mask(server, series, tmp_path)
    _assert_segments(file, SimpleITK.ReadImage(str(tmp_path / "mask.nii.gz")), tmp_path)


def _assert_segments(file: Path, label: SimpleITK.Image, folder: Path) -> None:
    """Sees that dcmqi reads from a DICOM Segmentation, in mm, what a label holds."""
    program = Path(sys.executable).with_name("segimage2itkimage")
    subprocess.run(
        [program, "--inputDICOM", file, "--outputDirectory", folder, "--prefix", "read"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    expected = SimpleITK.GetArrayFromImage(label)
    for value in NAMES:
        read = SimpleITK.ReadImage(str(folder / f"read-{value}.nrrd"))
        at = SimpleITK.Resample(read, label, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(at) > 0, expected == value)


def _segmentations(orthanc: Orthanc) -> set[str]:
    """Orthanc's numbers of the segmentations that it has."""
    found = orthanc.ask("/tools/find", b'{"Level": "Instance", "Query": {"Modality": "SEG"}}')
    return set(found)


def _download(orthanc: Orthanc, instance: str) -> bytes:
    import requests

    return requests.get(f"{orthanc.http}/instances/{instance}/file", timeout=30).content
