"""Takes identities out of finished SEG, RTSTRUCT and SR objects, by DICOM's Basic Profile (PS3.15 Annex E).

Only attributes that are listed here stay; a list of what must go (Table E.1-1) would let through what the next
edition, another writer or a vendor adds. What stays is geometry, pixels, contours, numbers, codes, the names of labels
and what radseg says of itself; no attribute that stays is copied from the source's header but numbers and codes of the
image. Beside the Basic Profile the objects meet the Clean Structured Content Option (of an SR's tree only numbers,
codes, references and the texts listed here stay) and the Clean Descriptors Option (a descriptor stays where radseg
writes it, others are replaced or go).
"""

import hashlib
import hmac
from collections.abc import Mapping
from copy import copy
from typing import Any

from highdicom.sr import CodedConcept
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from radseg.pipelines.dicom_out.algorithm import NOT_A_DEVICE
from radseg.pipelines.dicom_out.deidentify_key import checked_key, read_key
from radseg.pipelines.dicom_out.structured_report import WARNING
from radseg.pipelines.io.dicom.header import quiet_pydicom

__all__ = ["Deidentifier", "read_key"]

_STANDARD_UIDS = "1.2.840.10008."
_UIDS_THAT_STAY = {"SOPClassUID", "ReferencedSOPClassUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID"}
_UIDS = {
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "ReferencedSOPInstanceUID", "FrameOfReferenceUID"),
    *("ReferencedFrameOfReferenceUID", "DimensionOrganizationUID", "TrackingUID", "UID"),
}
_KEPT = {
    # the object itself, its series, what made it
    *("SpecificCharacterSet", "Modality", "SeriesNumber", "InstanceNumber", "Manufacturer", "ManufacturerModelName"),
    *("SoftwareVersions", "ContentLabel", "ContentDescription", "CodingSchemeIdentificationSequence"),
    *("CodingSchemeName", "CodingSchemeResponsibleOrganization"),
    # codes (PS3.3 8.8)
    *("CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"),
    *("MappingResource", "ContextIdentifier", "ContextGroupVersion"),
    # references
    *("ReferencedSeriesSequence", "ReferencedInstanceSequence", "ReferencedSOPSequence", "ReferencedFrameNumber"),
    *("ReferencedSegmentNumber", "SourceImageSequence", "DerivationImageSequence", "DerivationCodeSequence"),
    *("PurposeOfReferenceCodeSequence", "SpatialLocationsPreserved", "CurrentRequestedProcedureEvidenceSequence"),
    # image, frames and segments of a SEG
    *("ImageType", "PhotometricInterpretation", "PresentationLUTShape", "SamplesPerPixel", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "LossyImageCompression"),
    *("PixelPaddingValue", "PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "SegmentationType"),
    *("SegmentationFractionalType", "MaximumFractionalValue", "SegmentsOverlap", "SegmentSequence", "SegmentNumber"),
    *("SegmentLabel", "SegmentAlgorithmType", "SegmentAlgorithmName", "SegmentationAlgorithmIdentificationSequence"),
    *("AlgorithmFamilyCodeSequence", "AlgorithmName", "AlgorithmVersion", "AlgorithmSource", "TrackingID"),
    *("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence", "AnatomicRegionSequence"),
    *("RecommendedDisplayCIELabValue", "DimensionOrganizationSequence", "DimensionOrganizationType"),
    *("DimensionIndexSequence", "DimensionIndexPointer", "FunctionalGroupPointer", "DimensionDescriptionLabel"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "FrameContentSequence"),
    *("DimensionIndexValues", "SegmentIdentificationSequence", "PlanePositionSequence", "ImagePositionPatient"),
    *("PlaneOrientationSequence", "ImageOrientationPatient", "PixelMeasuresSequence", "PixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices"),
    # regions and contours of an RTSTRUCT
    *("ReferencedFrameOfReferenceSequence", "RTReferencedStudySequence", "RTReferencedSeriesSequence"),
    *("ContourImageSequence", "StructureSetROISequence", "ROINumber", "ROIGenerationAlgorithm", "ROIContourSequence"),
    *("ROIDisplayColor", "ReferencedROINumber", "ContourSequence", "ContourGeometricType", "NumberOfContourPoints"),
    *("ContourData", "RTROIObservationsSequence", "ObservationNumber", "RTROIIdentificationCodeSequence"),
    *("RTROIInterpretedType", "ApprovalStatus"),
    # content tree of an SR
    *("ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentTemplateSequence", "TemplateIdentifier"),
    *("ContentSequence", "RelationshipType", "ConceptCodeSequence", "MeasuredValueSequence", "NumericValue"),
    *("FloatingPointValue", "MeasurementUnitsCodeSequence", "TextValue", "CompletionFlag", "PreliminaryFlag"),
}
_REPLACED: Mapping[str, Any] = {
    # Z and D of Table E.1-1, and what IODs demand: empty where that is allowed, else the same for all
    **dict.fromkeys(("PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyID", "AccessionNumber"), ""),
    **dict.fromkeys(("StudyDate", "StudyTime", "OperatorsName", "ROIInterpreter", "ContentCreatorName"), ""),
    **dict.fromkeys(("StructureSetDate", "StructureSetTime", "PositionReferenceIndicator"), ""),
    "ReferencedPerformedProcedureStepSequence": (),
    "PerformedProcedureCodeSequence": (),
    "ContentDate": "19000101",
    "ContentTime": "000000",
    "DeviceSerialNumber": "REMOVED",
    "SeriesDescription": f"De-identified. {NOT_A_DEVICE}",
    "StructureSetLabel": "RADSEG",
    "StructureSetDescription": f"Research only. {NOT_A_DEVICE}.",
    "VerificationFlag": "UNVERIFIED",
}
_TEXTS = {  # of an algorithm, what is tracked, the observing software; radseg's warnings, which quote no header
    *(("DCM", value) for value in ("111001", "111002", "111003", "122405", "112039", "121013", "121014", "121015")),
    (WARNING.scheme_designator, WARNING.value),
}
_COMMENT = ("DCM", "121106")
_CONTENT_THAT_STAYS = {"CONTAINER", "CODE", "NUM", "IMAGE", "COMPOSITE", "UIDREF", "TEXT"}
_METHOD = "radseg: PS3.15 Basic Profile, UIDs by keyed hash"
_METHOD_CODES = (
    codes.cid7050.BasicApplicationConfidentialityProfile,
    codes.cid7050.CleanStructuredContentOption,
    codes.cid7050.CleanDescriptorsOption,
)


class Deidentifier:
    """Replaces identities by values that the key alone links to them; the same key always gives the same.

    Args:
        key: at least 16 secret bytes.

    Raises:
        ConfigError: the key is too short.
    """

    def __init__(self, key: bytes) -> None:
        self._key = checked_key(key, "the key")

    def apply(self, dataset: Dataset) -> Dataset:
        """A de-identified copy of a finished SEG, RTSTRUCT or SR, ready to be saved; pixels aren't copied.

        Patient's name and id become "ANON-" and ten hex digits, which follow from the id (without one from the name,
        without either from the study); instance UIDs are replaced throughout, so that objects of one key still refer
        to each other; dates and times are emptied, or 1 January 1900 where there must be one.
        """
        with quiet_pydicom():
            patient = self._patient(dataset)
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
            meta.MediaStorageSOPClassUID = dataset.SOPClassUID
            meta.MediaStorageSOPInstanceUID = self.uid(dataset.SOPInstanceUID)
            meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
            cleaned = FileDataset("", self._cleaned(dataset), file_meta=meta, preamble=b"\0" * 128)
            cleaned.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
            _name_regions(cleaned)
            cleaned.PatientName = cleaned.PatientID = patient
            cleaned.PatientIdentityRemoved = "YES"
            cleaned.DeidentificationMethod = _METHOD
            cleaned.DeidentificationMethodCodeSequence = [CodedConcept.from_code(code) for code in _METHOD_CODES]
            cleaned.LongitudinalTemporalInformationModified = "REMOVED"
            return cleaned

    def pseudonym(self, text: str) -> str:
        """16 hex digits that stand for a text, such as a case's name."""
        return self._digest("name", text).hex()[:16]

    def uid(self, uid: str) -> str:
        """The UID (PS3.5 B.2, below 2.25) that stands for another; one that the DICOM standard defines is itself."""
        if str(uid).startswith(_STANDARD_UIDS) or not uid:
            return str(uid)
        digest = hmac.new(self._key, str(uid).encode(), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"

    def _patient(self, dataset: Dataset) -> str:
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
            value = str(dataset.get(keyword) or "").strip()
            if value:
                return f"ANON-{self._digest(keyword, value).hex()[:10].upper()}"
        return "ANON"

    def _digest(self, what: str, text: str) -> bytes:
        return hmac.new(self._key, f"{what}\n{text}".encode(), hashlib.sha256).digest()

    def _cleaned(self, dataset: Dataset) -> Dataset:
        cleaned = Dataset()
        cleaned.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
        for tag in list(dataset.keys()):
            keyword = "" if tag.is_private else keyword_for_tag(tag)
            if keyword in _REPLACED:
                value = _REPLACED[keyword]
                setattr(cleaned, keyword, [] if value == () else value)
            elif keyword in _UIDS:
                setattr(cleaned, keyword, self._uids(dataset[tag].value))
            elif keyword in _KEPT or keyword in _UIDS_THAT_STAY:
                cleaned[tag] = self._kept(dataset, tag, keyword)
        return cleaned

    def _uids(self, value: Any) -> Any:
        return self.uid(value) if isinstance(value, str) else [self.uid(one) for one in value]

    def _kept(self, dataset: Dataset, tag: BaseTag, keyword: str) -> DataElement | RawDataElement:
        stored = dataset.get_item(tag)
        if keyword == "ContourData" and isinstance(stored, RawDataElement):  # millions of numbers needn't be read
            return stored
        element = dataset[tag]
        if element.VR != "SQ":
            return copy(element)
        items = element.value
        if keyword == "ContentSequence":
            items = [item for item in items if _stays(item)]
        return DataElement(tag, "SQ", [_text_replaced(self._cleaned(item)) for item in items])


def _stays(item: Dataset) -> bool:
    """Whether a content item of an SR may stay: no person, date or time, and no text but those that are known."""
    kind = item.get("ValueType")
    if kind == "TEXT":
        return _concept(item) in (*_TEXTS, _COMMENT)
    return kind in _CONTENT_THAT_STAYS


def _text_replaced(item: Dataset) -> Dataset:
    if item.get("ValueType") == "TEXT" and _concept(item) == _COMMENT:
        item.TextValue = f"Research only. {NOT_A_DEVICE}."
    return item


def _concept(item: Dataset) -> tuple[str, str]:
    names = item.get("ConceptNameCodeSequence") or [Dataset()]
    return str(names[0].get("CodingSchemeDesignator")), str(names[0].get("CodeValue"))


def _name_regions(cleaned: Dataset) -> None:
    """Gives a structure set's regions, whose names Table E.1-1 has go, the names of what they are coded as."""
    meanings = {}
    for observation in cleaned.get("RTROIObservationsSequence", ()):
        for code in observation.get("RTROIIdentificationCodeSequence", ()):
            meanings[observation.ReferencedROINumber] = str(code.CodeMeaning)
    for region in cleaned.get("StructureSetROISequence", ()):
        region.ROIName = meanings.get(region.ROINumber, f"region {region.ROINumber}")
