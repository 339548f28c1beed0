"""De-identified objects: nothing of the patient is left in them, and they still belong together."""

import dataclasses
import hashlib
import io
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import finding_factory as factory
import highdicom
import numpy as np
import pydicom
import pydicom.config
import pytest
from highdicom import sr
from pydicom.datadict import DicomDictionary, dictionary_keyword, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from radseg.pipelines.dicom_out.deidentify import Deidentifier, read_key
from radseg.pipelines.dicom_out.rtstruct import rtstruct
from radseg.pipelines.dicom_out.segmentation import segmentation
from radseg.pipelines.dicom_out.structured_report import report
from radseg.pipelines.errors import ConfigError

SHAPE = (20, 16, 6)
KEY = bytes(range(32))
TOLD = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "CS", "AE"), "TELLTALE"),
    **{"PN": "Tell^Tale", "DA": "19470815", "TM": "173143.25", "DT": "19470815173143", "AS": "047Y"},
    **{"UI": "1.2.99999.47.11", "UR": "http://telltale.example"},
}
"""What a value of each VR is that must not be found again."""

ACTIONS: dict[str, str] = {
    # PS3.15 Table E.1-1, Basic Profile, of what the modules of SEG, SR and RTSTRUCT can hold; C: a Clean option
    **dict.fromkeys(("AccessionNumber", "PatientBirthDate", "PatientID", "PatientName", "PatientSex"), "Z"),
    **dict.fromkeys(("ReferringPhysicianName", "StudyDate", "StudyID", "StudyTime", "StructureSetDate"), "Z"),
    **dict.fromkeys(("ConsultingPhysicianName", "ClinicalTrialCoordinatingCenterName", "ROIInterpreter"), "Z"),
    **dict.fromkeys(("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName"), "Z"),
    **dict.fromkeys(("ClinicalTrialTimePointID", "VerifyingObserverIdentificationCodeSequence"), "Z"),
    **dict.fromkeys(("ClinicalTrialProtocolEthicsCommitteeName", "ClinicalTrialProtocolID"), "D"),
    **dict.fromkeys(("ClinicalTrialSponsorName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"), "D"),
    **dict.fromkeys(("PersonName", "VerifyingObserverName", "VerifyingOrganization", "VerifyingObserverSequence"), "D"),
    **dict.fromkeys(("PersonIdentificationCodeSequence", "ContentDate", "ContentTime", "ContentCreatorName"), "D"),
    **dict.fromkeys(("InstitutionName", "InstitutionCodeSequence", "StationName", "DeviceSerialNumber"), "X/Z/D"),
    **dict.fromkeys(("OperatorsName", "OperatorIdentificationSequence", "SeriesDate", "SeriesTime"), "X/Z/D"),
    **dict.fromkeys(("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ProtocolName"), "X/Z/D"),
    **dict.fromkeys(("ReferencedStudySequence", "RequestedProcedureDescription", "StructureSetTime"), "X/Z/D"),
    **dict.fromkeys(("AcquisitionContextSequence", "ContrastBolusAgent", "DetectorID", "ReviewerName"), "X/Z/D"),
    **dict.fromkeys(("AcquisitionComments", "ActualHumanPerformersSequence", "AdditionalPatientHistory"), "X"),
    **dict.fromkeys(("AdmissionID", "AdmittingDate", "AdmittingDiagnosesCodeSequence", "AdmittingTime"), "X"),
    **dict.fromkeys(("AdmittingDiagnosesDescription", "Allergies", "AuthorObserverSequence", "BranchOfService"), "X"),
    **dict.fromkeys(("ClinicalTrialProtocolEthicsCommitteeApprovalNumber", "ClinicalTrialSeriesDescription"), "X"),
    **dict.fromkeys(("ClinicalTrialSeriesID", "ClinicalTrialTimePointDescription", "ContributionDescription"), "X"),
    **dict.fromkeys(("CommentsOnThePerformedProcedureStep", "ConsultingPhysicianIdentificationSequence"), "X"),
    **dict.fromkeys(("ContentCreatorIdentificationCodeSequence", "CountryOfResidence", "CurrentPatientLocation"), "X"),
    **dict.fromkeys(("CustodialOrganizationSequence", "DerivationDescription", "DigitalSignaturesSequence"), "X"),
    **dict.fromkeys(("EthnicGroup", "FrameComments", "GantryID", "GeneratorID", "IconImageSequence"), "X"),
    **dict.fromkeys(("IdentifyingComments", "ImageComments", "InstanceCoercionDateTime", "InstitutionAddress"), "X"),
    **dict.fromkeys(("InstitutionalDepartmentName", "InstitutionalDepartmentTypeCodeSequence"), "X"),
    **dict.fromkeys(("InsurancePlanIdentification", "IssuerOfAdmissionID", "IssuerOfPatientID"), "X"),
    **dict.fromkeys(("IssuerOfServiceEpisodeID", "LastMenstrualDate", "MedicalAlerts", "MedicalRecordLocator"), "X"),
    **dict.fromkeys(("MilitaryRank", "ModifiedAttributesSequence", "NameOfPhysiciansReadingStudy"), "X"),
    **dict.fromkeys(("NonconformingModifiedAttributesSequence", "Occupation", "OriginalAttributesSequence"), "X"),
    **dict.fromkeys(("OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "ParticipantSequence"), "X"),
    **dict.fromkeys(("PatientAddress", "PatientAge", "PatientBirthName", "PatientBirthTime", "PatientComments"), "X"),
    **dict.fromkeys(("PatientInsurancePlanCodeSequence", "PatientMotherBirthName", "PatientReligiousPreference"), "X"),
    **dict.fromkeys(("PatientPrimaryLanguageCodeSequence", "PatientSize", "PatientState", "PatientWeight"), "X"),
    **dict.fromkeys(("PatientTelephoneNumbers", "PerformedProcedureStepDescription", "PregnancyStatus"), "X"),
    **dict.fromkeys(("PerformedProcedureStepID", "PerformedProcedureStepStartDate", "PerformingPhysicianName"), "X"),
    **dict.fromkeys(("PerformedProcedureStepStartTime", "PerformedStationAETitle", "PerformedStationName"), "X"),
    **dict.fromkeys(("PersonAddress", "PersonTelephoneNumbers", "PhysiciansOfRecord", "PlateID"), "X"),
    **dict.fromkeys(("PhysiciansReadingStudyIdentificationSequence", "ReasonForStudy", "ReasonForVisit"), "X"),
    **dict.fromkeys(("ReasonForTheRequestedProcedure", "ReferencedPatientSequence", "RegionOfResidence"), "X"),
    **dict.fromkeys(("ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "RequestedProcedureID"), "X"),
    **dict.fromkeys(("ReferringPhysicianIdentificationSequence", "RequestAttributesSequence"), "X"),
    **dict.fromkeys(("RequestedProcedureComments", "RequestingPhysician", "RequestingService", "SmokingStatus"), "X"),
    **dict.fromkeys(("ResponsibleOrganization", "ResponsiblePerson", "ScheduledProcedureStepID"), "X"),
    **dict.fromkeys(("ServiceEpisodeDescription", "ServiceEpisodeID", "SpecialNeeds", "StudyComments"), "X"),
    **dict.fromkeys(("StudyDescription", "TextComments", "TimezoneOffsetFromUTC", "UDISequence"), "X"),
    **dict.fromkeys(("ROIDescription", "ROIGenerationDescription", "ROIObservationDescription"), "X"),
    **dict.fromkeys(("ROIObservationLabel", "StructureSetName", "VisitComments"), "X"),
    **dict.fromkeys(("SeriesDescription", "StructureSetDescription", "StructureSetLabel", "ROIName"), "C"),
    **dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "ReferencedSOPInstanceUID"), "U"),
    **dict.fromkeys(("FrameOfReferenceUID", "ReferencedFrameOfReferenceUID", "DimensionOrganizationUID", "UID"), "U"),
    **dict.fromkeys(("TrackingUID", "ConcatenationUID", "SynchronizationFrameOfReferenceUID", "DeviceUID"), "U"),
    **dict.fromkeys(("InstanceCreatorUID", "IrradiationEventUID", "ObservationUID", "StorageMediaFileSetUID"), "U"),
}


def telling(keyword: str) -> Any:
    """A value of the attribute that must not be found again."""
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        item = Dataset()
        item.PatientName, item.InstitutionName, item.CodeMeaning = TOLD["PN"], TOLD["LO"], TOLD["LO"]
        return [item]
    return TOLD.get(vr, 47)


def tell_all(dataset: Dataset) -> None:
    """Fills every text, date and id of the groups that describe patient, study, equipment and procedure."""
    for tag in DicomDictionary:
        keyword = dictionary_keyword(tag)
        wanted = tag >> 16 in (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
        there = keyword in dataset and keyword not in factory.HEADER
        if wanted and keyword and not there and dictionary_VR(tag) in TOLD and keyword != "SpecificCharacterSet":
            setattr(dataset, keyword, TOLD[dictionary_VR(tag)])
    block = dataset.private_block(0x0009, "TELLTALE", create=True)
    block.add_new(1, "LO", "TELLTALE")


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """A finding on a series whose headers hold all that they can."""
    folder = factory.series(tmp_path / "ct", SHAPE, uid="1.2.826.0.1.3680043.8.498.4711")
    with pydicom.config.disable_value_validation():
        for file in folder.iterdir():
            factory.dicom.rewrite(file, tell_all)
    return factory.finding(factory.only_case(folder), factory.blobs(SHAPE))


@pytest.fixture
def plain(tmp_path: Path) -> Any:
    """A finding on a series with an ordinary header."""
    return factory.finding(factory.only_case(factory.series(tmp_path / "plain", SHAPE)), factory.blobs(SHAPE))


def objects(finding: Any) -> dict[str, Dataset]:
    """Each kind of object of a finding."""
    probability = np.stack([finding.mask == 1, finding.mask == 2]).astype(np.float32)
    made = {kind: segmentation(dataclasses.replace(finding, probability=probability), kind) for kind in KINDS}
    return {**made, "rtstruct": rtstruct(finding), "report": report(finding, made["binary"])}


KINDS = ("binary", "labelmap", "fractional")


def every_item(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from every_item(item)


def uids(dataset: Dataset) -> set[str]:
    """Every UID but those that the standard or radseg's software define."""
    found = {str(one.value) for item in every_item(dataset) for one in item if one.VR == "UI" and one.value}
    return {uid for uid in found if not uid.startswith("1.2.840.10008.")}


def test_nothing_of_the_source_header_is_left_in_any_object(told: Any, tmp_path: Path) -> None:
    secrets = {
        *TOLD.values(),
        *(value for key, value in factory.HEADER.items() if isinstance(value, str) and len(value) > 2),
    }
    secrets |= {
        str(header[key].value) for header in told.source.headers for key in ("SOPInstanceUID", "SeriesInstanceUID")
    }
    for name, dataset in objects(told).items():
        file = tmp_path / f"{name}.dcm"
        dataset.save_as(file, enforce_file_format=True)
        assert b"Tell^Tale" in file.read_bytes()
        Deidentifier(KEY).apply(dataset).save_as(file, enforce_file_format=True)
        assert [secret for secret in secrets if secret.encode() in file.read_bytes()] == []


def test_nothing_that_others_put_into_a_finished_object_is_left(plain: Any, tmp_path: Path) -> None:
    kept = {"SegmentLabel", "TextValue", "UID"}
    for name, made in objects(plain).items():
        dataset = factory.read_back(made, tmp_path / f"{name}.dcm")  # highdicom's objects share items with each other
        with pydicom.config.disable_value_validation():
            for item in _first_items(dataset):
                for keyword in ACTIONS:
                    if keyword not in item and keyword not in kept:
                        setattr(item, keyword, telling(keyword))
                item.private_block(0x0011, "TELLTALE", create=True).add_new(1, "LO", "TELLTALE")
            dataset.preamble = b"TELLTALE" * 16
            dataset.file_meta.SourceApplicationEntityTitle = "TELLTALE"
        file = tmp_path / f"{name}.dcm"
        Deidentifier(KEY).apply(dataset).save_as(file, enforce_file_format=True)
        assert [value for value in TOLD.values() if value.encode() in file.read_bytes()] == []


def _first_items(dataset: Dataset) -> list[Dataset]:
    """The dataset and, however deep, the first item of each of its sequences."""
    below = [item for one in dataset if one.VR == "SQ" for item in one.value[:1]]
    return [dataset, *(found for item in below for found in _first_items(item))]


@pytest.mark.parametrize("keyword", ACTIONS)
def test_each_attribute_is_treated_as_table_e_1_1_says(keyword: str) -> None:
    dataset = pydicom.FileDataset("", {}, file_meta=pydicom.dataset.FileMetaDataset())
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
    dataset.SegmentSequence = [Dataset()]
    for place in (dataset, dataset.SegmentSequence[0]):
        setattr(place, keyword, telling(keyword))
    deidentifier = Deidentifier(KEY)
    cleaned = deidentifier.apply(dataset)
    for place in (cleaned, cleaned.SegmentSequence[0]):
        action = ACTIONS[keyword]
        assert keyword not in place or place[keyword].value != telling(keyword)
        if action == "X":
            assert keyword not in place
        elif action == "U" and keyword in place:
            assert place[keyword].value == deidentifier.uid(TOLD["UI"])
        elif action == "Z" and keyword in place and place is not cleaned:
            assert not place[keyword].value


def test_patient_is_a_pseudonym_that_only_the_key_links_to_the_id(plain: Any) -> None:
    dataset = rtstruct(plain)
    one, again, other = (Deidentifier(key).apply(dataset) for key in (KEY, KEY, KEY[::-1]))
    assert one.PatientID.startswith("ANON-")
    assert len(one.PatientID) == 15
    assert one.PatientID == one.PatientName == again.PatientID
    assert one.PatientID != other.PatientID
    assert hashlib.sha256(b"ID-4711").hexdigest()[:10].upper() not in one.PatientID
    assert (one.PatientBirthDate, one.PatientSex, one.StudyDate, one.AccessionNumber) == ("", "", "", "")


def test_patients_without_an_id_are_not_made_one(plain: Any) -> None:
    dataset = rtstruct(plain)
    dataset.PatientID = dataset.PatientName = ""
    another = rtstruct(plain)
    another.PatientID, another.PatientName, another.StudyInstanceUID = "", "", "1.2.3"
    assert Deidentifier(KEY).apply(dataset).PatientID != Deidentifier(KEY).apply(another).PatientID


def test_uids_are_replaced_by_the_key_and_never_by_a_plain_hash(plain: Any) -> None:
    one, again, other = (Deidentifier(key).uid("1.2.3.4") for key in (KEY, KEY, KEY[::-1]))
    assert one == again != other
    assert pydicom.uid.UID(one).is_valid
    assert one.startswith("2.25.")
    assert one != f"2.25.{int.from_bytes(hashlib.sha256(b'1.2.3.4').digest()[:16], 'big')}"
    dataset = segmentation(plain)
    by_key = uids(Deidentifier(KEY).apply(dataset))
    assert not by_key & uids(dataset)
    assert not by_key & uids(Deidentifier(KEY[::-1]).apply(dataset))


def test_the_kind_of_object_and_of_its_source_stay(plain: Any) -> None:
    for dataset in objects(plain).values():
        cleaned = Deidentifier(KEY).apply(dataset)
        assert cleaned.SOPClassUID == dataset.SOPClassUID == cleaned.file_meta.MediaStorageSOPClassUID
        assert cleaned.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
        assert cleaned.file_meta.MediaStorageSOPInstanceUID == cleaned.SOPInstanceUID != dataset.SOPInstanceUID
        before, after = (
            {str(item.ReferencedSOPClassUID) for item in every_item(one) if "ReferencedSOPClassUID" in item}
            for one in (dataset, cleaned)
        )
        assert before == after


def test_objects_of_one_key_still_refer_to_each_other(plain: Any) -> None:
    deidentifier = Deidentifier(KEY)
    made = objects(plain)
    cleaned = {name: deidentifier.apply(dataset) for name, dataset in made.items()}
    for name, dataset in made.items():
        assert uids(cleaned[name]) == {deidentifier.uid(uid) for uid in uids(dataset)}
        assert cleaned[name].StudyInstanceUID == cleaned["report"].StudyInstanceUID
        assert cleaned[name].PatientID == cleaned["report"].PatientID
    assert cleaned["binary"].SOPInstanceUID in uids(cleaned["report"])
    assert cleaned["binary"].FrameOfReferenceUID == cleaned["rtstruct"].FrameOfReferenceUID
    images = {deidentifier.uid(header.SOPInstanceUID) for header in plain.source.headers}
    assert all(images <= uids(cleaned[name]) for name in ("binary", "rtstruct", "report"))


def test_masks_contours_and_numbers_are_as_before(plain: Any, tmp_path: Path) -> None:
    made = objects(plain)
    cleaned = {name: Deidentifier(KEY).apply(dataset) for name, dataset in made.items()}
    for name, dataset in cleaned.items():
        dataset.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    for kind in KINDS:
        read = highdicom.seg.segread(tmp_path / f"{kind}.dcm")
        assert np.array_equal(read.pixel_array, made[kind].pixel_array)
        assert [one.SegmentLabel for one in read.SegmentSequence if one.SegmentNumber] == [
            "vertebra", "fractured vertebra"
        ]  # fmt: skip
    read = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    for before, after in zip(made["rtstruct"].ROIContourSequence, read.ROIContourSequence, strict=True):
        pairs = zip(before.ContourSequence, after.ContourSequence, strict=True)
        assert all(one.ContourData == other.ContourData for one, other in pairs)
    assert [region.ROIName for region in read.StructureSetROISequence] == ["Vertebra", "Fracture of bone"]
    found = highdicom.sr.srread(tmp_path / "report.dcm").content.get_volumetric_roi_measurement_groups()
    assert [group.get_measurements()[0].value for group in found] == [
        row["volume_ml"] for row in plain.statistics["labels"].values()
    ]


def test_they_say_that_and_how_they_were_deidentified(plain: Any, tmp_path: Path) -> None:
    for name, dataset in objects(plain).items():
        read = factory.read_back(Deidentifier(KEY).apply(dataset), tmp_path / f"{name}.dcm")
        assert (read.PatientIdentityRemoved, read.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
        assert [code.CodeValue for code in read.DeidentificationMethodCodeSequence] == ["113100", "113104", "113105"]
        assert "PS3.15" in read.DeidentificationMethod
        assert "Not a medical device" in read.SeriesDescription


@pytest.mark.parametrize("name", ["binary", "fractional", "rtstruct", "report"])
def test_the_validator_finds_no_error(plain: Any, tmp_path: Path, name: str) -> None:
    factory.read_back(Deidentifier(KEY).apply(objects(plain)[name]), tmp_path / "object.dcm")
    assert factory.dciodvfy(tmp_path / "object.dcm") == []


def test_people_dates_and_unknown_texts_leave_the_tree_of_a_report(plain: Any, tmp_path: Path) -> None:
    dataset = report(plain)
    contains = sr.RelationshipTypeValues.CONTAINS
    dataset.ContentSequence.extend(
        [
            sr.PnameContentItem(codes.DCM.PersonObserverName, "Tell^Tale", contains),
            sr.TextContentItem(codes.DCM.DeviceObserverSerialNumber, "TELLTALE", contains),
            sr.TextContentItem(codes.DCM.DeviceObserverPhysicalLocationDuringObservation, "TELLTALE", contains),
            sr.TextContentItem(codes.DCM.Comment, "TELLTALE", contains),
            sr.TextContentItem(sr.CodedConcept("111001", "99HOSPITAL", "Algorithm Name"), "TELLTALE", contains),
            sr.DateContentItem(codes.DCM.StudyDate, "19470815", contains),
            sr.DateTimeContentItem(codes.DCM.StudyDate, "19470815173143", contains),
        ]
    )
    file = tmp_path / "report.dcm"
    Deidentifier(KEY).apply(dataset).save_as(file, enforce_file_format=True)
    assert [value for value in TOLD.values() if value.encode() in file.read_bytes()] == []
    assert b"Not a medical device" in file.read_bytes()


def test_the_object_itself_is_left_as_it_was(plain: Any) -> None:
    for dataset in objects(plain).values():
        before = _digest(dataset)
        Deidentifier(KEY).apply(dataset)
        assert _digest(dataset) == before


def _digest(dataset: Dataset) -> str:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return hashlib.sha256(file.getvalue()).hexdigest()


def test_what_was_read_from_a_file_is_deidentified_alike(plain: Any, tmp_path: Path) -> None:
    for name, dataset in objects(plain).items():
        made = Deidentifier(KEY).apply(dataset)
        read = Deidentifier(KEY).apply(factory.read_back(dataset, tmp_path / f"{name}.dcm"))
        assert _digest(read) == _digest(made)


def test_names_of_cases_have_a_pseudonym_by_the_key() -> None:
    one, again, other = (Deidentifier(key).pseudonym("case") for key in (KEY, KEY, KEY[::-1]))
    assert one == again != other
    assert int(one, 16) >= 0
    assert one != hashlib.sha256(b"case").hexdigest()[: len(one)]


def test_a_key_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY)
    for mode in (0o600, 0o640):
        file.chmod(mode)
        assert read_key(file) == KEY


def test_a_key_file_that_all_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read this secret; run chmod o-rwx"):
        read_key(file)


def test_a_key_that_is_short_or_missing_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(ConfigError, match="can't be read"):
        read_key(file)
    file.write_bytes(b"short")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=r"5 bytes.*at least 16") as refused:
        read_key(file)
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="at least 16"):
        Deidentifier(b"short")


def test_ones_own_key_is_made_once_and_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keys: list[bytes] = []
    start = threading.Barrier(8)

    def first() -> None:
        start.wait()
        keys.append(read_key(None))

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file = tmp_path / ".config" / "radseg" / "deidentify.key"
    assert keys == [file.read_bytes()] * 8
    assert len(keys[0]) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["deidentify.key"]


def test_ones_own_key_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    read_key(None)
    file = tmp_path / ".config" / "radseg" / "deidentify.key"
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read this secret; run chmod 600"):
        read_key(None)
