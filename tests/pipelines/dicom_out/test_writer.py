"""What lies beside the mask in DICOM, of which cases, and what is refused before any case is run."""

import re
from pathlib import Path
from typing import Any

import dicom_factory as factory
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from radseg.pipelines.dicom_out.writer import DicomOut
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.manifest import Manifest
from radseg.pipelines.segment import segment

SAMPLES = Path(__file__).parents[3] / "sample_data"
BUNDLES = Path(__file__).parents[3] / "bundles"


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    hu = np.random.default_rng(0).integers(-1000, 400, (16, 16, 4)).astype(np.int16)
    folder: Path = factory.write_series(tmp_path / "ct", hu)
    return folder


@pytest.fixture
def lung_ct(small: dict[str, dict[str, Any]], small_weights: dict[str, Path]) -> dict[str, Any]:
    return {"weights": small_weights["lung_ct"], "progress": False, **small["lung_ct"]}


def test_a_dicom_case_gets_the_files_that_are_asked_for(ct: Path, lung_ct: dict[str, Any], tmp_path: Path) -> None:
    batch = segment("lung_ct", ct, tmp_path / "out", output_type="dicom_seg,dicom_rtstruct,dicom_sr", **lung_ct)
    assert batch.failed == {}
    [folder] = [tmp_path / "out" / case for case in batch.done]
    kinds = {file.name: pydicom.dcmread(file).Modality for file in folder.glob("*.dcm")}
    assert kinds == {"segmentation.dcm": "SEG", "rtstruct.dcm": "RTSTRUCT", "report.dcm": "SR"}
    assert (folder / "mask.nii.gz").is_file()


def test_a_nifti_case_gets_none_since_there_is_nothing_to_refer_to(
    small: dict[str, dict[str, Any]], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    image = sorted((SAMPLES / "spine" / "imagesTr").iterdir())[0]
    options = {"weights": small_weights["spine"], "progress": False, **small["spine"]}
    batch = segment("spine", image, tmp_path, output_type="dicom_seg", **options)
    assert len(batch.done) == 1
    assert not list(tmp_path.glob("*/*.dcm"))


def test_asking_for_more_than_is_there_makes_it(ct: Path, lung_ct: dict[str, Any], tmp_path: Path) -> None:
    first = segment("lung_ct", ct, tmp_path / "out", **lung_ct)
    same = segment("lung_ct", ct, tmp_path / "out", **lung_ct)
    more = segment("lung_ct", ct, tmp_path / "out", output_type=["nifti", "dicom_seg"], **lung_ct)
    kind = segment("lung_ct", ct, tmp_path / "out", output_type="dicom_seg", seg_type="labelmap", **lung_ct)
    again = segment("lung_ct", ct, tmp_path / "out", output_type="dicom_seg", seg_type="labelmap", **lung_ct)
    assert first.done == same.skipped == more.done == kind.done == again.skipped != []
    written = pydicom.dcmread(tmp_path / "out" / first.done[0] / "segmentation.dcm")
    assert written.SegmentationType == "LABELMAP"


def test_a_radiograph_gets_no_contours_for_it_has_no_place_in_the_patient(
    small: dict[str, dict[str, Any]], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    options = {"weights": small_weights["pelvis_xray"], "progress": False, **small["pelvis_xray"]}
    inputs = SAMPLES / "pelvis_xray" / "dicom"
    batch = segment("pelvis_xray", inputs, tmp_path, output_type="dicom_seg,dicom_rtstruct", **options)
    assert batch.done
    assert batch.failed == {}
    assert {file.name for file in tmp_path.glob("*/*.dcm")} == {"segmentation.dcm"}


def test_what_cant_be_sent_fails_the_case_and_is_sent_by_the_next_run(
    ct: Path, lung_ct: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from radseg.pipelines.errors import InputError

    archive: list[str] = []
    open_now = [False]

    def send_files(files: list[Path], url: str) -> None:
        if not open_now[0]:
            raise InputError("dicom://PACS@127.0.0.1:4242: refused; start it")
        archive.extend(file.name for file in files)

    monkeypatch.setattr("radseg.pipelines.dicom_out.writer.send_files", send_files)
    to = {"send_to": "dicom://PACS@127.0.0.1:4242", **lung_ct}
    failed = segment("lung_ct", ct, tmp_path / "out", **to)
    [reason] = failed.failed.values()
    assert "refused" in reason
    assert "the files are kept, run again to send them" in reason
    open_now[0] = True
    sent = segment("lung_ct", ct, tmp_path / "out", **to)
    assert (sent.failed, archive) == ({}, ["segmentation.dcm"])
    assert sent.skipped == list(failed.failed)  # not segmented once more
    segment("lung_ct", ct, tmp_path / "out", **to)
    assert archive == ["segmentation.dcm"]
    rows = Manifest(tmp_path / "out" / "manifest.jsonl").read()
    assert [row["status"] for row in rows] == ["failed", "done"]
    assert rows[1]["sent_to"] == "dicom://PACS@127.0.0.1:4242"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"output_type": "dicom"}, "output_type dicom: give nifti, dicom_seg"),
        ({"output_type": ""}, "output_type"),
        ({"seg_type": "grey"}, "seg_type 'grey': give binary"),
        ({"send_to": "http://pacs"}, "give dicom://AET@HOST:PORT or dicomweb+https://HOST/PATH"),
    ],
)
def test_a_wish_that_cant_be_met_is_refused_before_any_case(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        DicomOut(bundle_root=BUNDLES / "spine", labels=["vertebra"], **wrong)


def test_an_archive_as_output_is_where_the_files_are_sent(
    ct: Path, lung_ct: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent: dict[str, list[str]] = {}
    monkeypatch.setattr(
        "radseg.pipelines.dicom_out.writer.send_files",
        lambda files, url: sent.update({url: [file.name for file in files]}),
    )
    monkeypatch.chdir(tmp_path)
    batch = segment("lung_ct", ct, "dicomweb+http://127.0.0.1:8042/dicom-web", **lung_ct)
    assert sent == {"dicomweb+http://127.0.0.1:8042/dicom-web": ["segmentation.dcm"]}
    assert batch.output_dir == tmp_path / "runs" / "lung_ct" / "masks"


TELLTALES = ("Telltale", "TELLTALE", "ID-4711", "19420131", "Referring^Doctor", "General Hospital", "ACC-99")


def _with_identity(number: int, dataset: Any) -> None:
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Telltale^Anna", "ID-4711", "19420131"
    dataset.ReferringPhysicianName, dataset.InstitutionName = "Referring^Doctor", "General Hospital"
    dataset.AccessionNumber, dataset.StudyDescription = "ACC-99", "Spine of Telltale"
    dataset.BodyPartExamined = "TELLTALE"
    for keyword in ("SeriesDescription", "ProtocolName", "ImageComments", "PatientAddress"):
        setattr(dataset, keyword, "Telltale")
    nested, outer = Dataset(), Dataset()
    nested.PatientName, nested.CodeMeaning, outer.PatientID = "Telltale^Anna", "Telltale", "ID-4711"
    nested.private_block(0x0011, "Telltale", create=True).add_new(1, "LO", "Telltale")
    outer.ConceptNameCodeSequence = [nested]
    for keyword in ("ProcedureCodeSequence", "AnatomicRegionSequence", "RequestAttributesSequence", "ContentSequence"):
        setattr(dataset, keyword, [outer])
    private = dataset.private_block(0x0029, "Telltale", create=True)
    private.add_new(1, "SQ", [outer])
    private.add_new(2, "UN", b"Telltale")


def test_deidentified_outputs_and_logs_hold_nothing_of_the_patient(
    lung_ct: dict[str, Any],
    small_options: Any,
    radseg: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "ID-4711 Telltale"
    hu = np.random.default_rng(0).integers(-1000, 400, (16, 16, 4)).astype(np.int16)
    uid = "1.2.840.4711.5"
    factory.write_series(folder / "one", hu, uid=uid, change=_with_identity)
    factory.write_series(folder / "two", hu[:, :, :1], uid="1.2.3.4", change=_with_identity)
    (folder / "Telltale.dcm").write_bytes(next((folder / "one").iterdir()).read_bytes()[:900])
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    with caplog.at_level("DEBUG"):
        ended = radseg(
            "segment", "lung_ct", folder, "-o", tmp_path / "out", "--weights", lung_ct["weights"], "--deidentify-key",
            key, "--output-type", "dicom_seg,dicom_rtstruct,dicom_sr", *small_options("lung_ct"),
        )  # fmt: skip
    assert len(list((tmp_path / "out").glob("*/segmentation.dcm"))) >= 1
    outputs = {file.name: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    told = {"stdout": ended.out.encode(), "stderr": ended.err.encode(), "log": caplog.text.encode()}
    for name, content in {**outputs, **told}.items():
        for telltale in (*TELLTALES, uid):
            assert telltale.encode() not in content, f"{telltale} in {name}"
    names = " ".join(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert not [telltale for telltale in TELLTALES if telltale in names]


@pytest.mark.parametrize("bundle", ["lung_xray", "pelvis_xray"])
def test_a_deidentified_radiograph_s_outputs_quote_nothing_of_its_header(
    bundle: str, small_weights: dict[str, Path], small_options: Any, radseg: Any, tmp_path: Path
) -> None:
    def telling(dataset: Any) -> None:
        _with_identity(0, dataset)
        dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 2000, 4000, "TELLTALE"
        dataset.PatientOrientation, dataset.ViewPosition = ["R TELLTALE", "F TELLTALE"], "TELLTALE"

    file = factory.write_radiograph(tmp_path / "in" / "x.dcm", np.arange(1200).reshape(40, 30))
    factory.rewrite(file, telling)
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    ended = radseg(
        "segment", bundle, file, "-o", tmp_path / "out", "--weights", small_weights[bundle], "--deidentify-key", key,
        "--tta", "flips", "--output-type", "dicom_seg,dicom_sr", *small_options(bundle),
    )  # fmt: skip
    outputs = {file.name: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert {"segmentation.dcm", "report.dcm", "uncertainty.png"} <= outputs.keys()
    assert "VOILUTFunction" in outputs["statistics.json"].decode()
    told = {**outputs, "stdout": ended.out.encode(), "stderr": ended.err.encode()}
    leaks = [(name, said) for name, one in told.items() for said in TELLTALES if said.encode() in one]
    assert leaks == []


def test_deidentified_files_still_refer_to_one_another(lung_ct: dict[str, Any], tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 400, (16, 16, 4)).astype(np.int16)
    ct = factory.write_series(tmp_path / "ct", hu, change=_with_identity)
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    types = "dicom_seg,dicom_rtstruct,dicom_sr"
    batch = segment("lung_ct", ct, tmp_path / "out", output_type=types, deidentify=key, **lung_ct)
    [folder] = [tmp_path / "out" / case for case in batch.done]
    seg, contours, report = (
        pydicom.dcmread(folder / name) for name in ("segmentation.dcm", "rtstruct.dcm", "report.dcm")
    )
    assert seg.StudyInstanceUID == contours.StudyInstanceUID == report.StudyInstanceUID
    assert seg.FrameOfReferenceUID == contours.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    assert str(seg.SOPInstanceUID) in str(report)
    assert seg.PatientID == report.PatientID != "ID-4711"
