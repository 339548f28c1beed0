"""The labels of a model as annotation clients and DICOM SEG want them: names, colours, coded terms."""

from collections.abc import Iterable, Sequence
from typing import Any

from radseg.pipelines.dicom_out.segments import Code, Segment


def label_numbers(segments: Sequence[Segment]) -> dict[str, int]:
    """Value of each label in a mask, by its name."""
    return {segment.name: segment.number for segment in segments}


def label_colours(segments: Sequence[Segment]) -> dict[str, list[int]]:
    """Red, green and blue of each label, 0–255, by its name."""
    return {segment.name: list(segment.colour_rgb) for segment in segments}


def label_info(model: str, segments: Iterable[Segment]) -> list[dict[str, Any]]:
    """The labels as MONAI Label's `label_info`, whose `segmentAttribute` is dcmqi's (`itkimage2segimage`).

    Args:
        model: name of the model, which becomes the SeriesDescription of a DICOM SEG.
        segments: the labels.
    """
    return [
        {
            "name": segment.name,
            "description": segment.name,
            "color": list(segment.colour_rgb),
            "model_name": model,
            "segmentAttribute": _attributes(model, segment),
        }
        for segment in segments
    ]


def _attributes(model: str, segment: Segment) -> dict[str, Any]:
    attributes = {
        "labelID": segment.number,
        "SegmentLabel": segment.name,
        "SegmentDescription": segment.name,
        "SegmentAlgorithmType": "SEMIAUTOMATIC",
        "SegmentAlgorithmName": f"radseg {model}",
        "SegmentedPropertyCategoryCodeSequence": _code(segment.category),
        "SegmentedPropertyTypeCodeSequence": _code(segment.kind),
        "recommendedDisplayRGBValue": list(segment.colour_rgb),
    }
    if segment.region is not None:
        attributes["AnatomicRegionSequence"] = _code(segment.region)
    return attributes


def _code(code: Code) -> dict[str, str]:
    return {"CodeValue": code.value, "CodingSchemeDesignator": code.scheme, "CodeMeaning": code.meaning}
