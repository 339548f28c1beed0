"""Who made a segmentation and of what: the coded descriptions of its segments."""

from collections.abc import Mapping, Sequence
from typing import Any

import highdicom
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.segments import Code

MANUFACTURER = "radseg"
NOT_A_DEVICE = "Not a medical device"
_LONG_STRING = 64  # characters of VR LO, PS3.5 6.2


def made_by(statistics: Mapping[str, Any]) -> str:
    """Name of the algorithm: "radseg spine"."""
    return f"{MANUFACTURER} {statistics.get('bundle', '')}".strip()[:_LONG_STRING]


def described(statistics: Mapping[str, Any]) -> str:
    """ContentDescription: who made it, and that it isn't a medical device."""
    end = f". {NOT_A_DEVICE}"
    return made_by(statistics)[: _LONG_STRING - len(end)] + end


def version(statistics: Mapping[str, Any]) -> str:
    """The bundle's version."""
    return str(statistics.get("bundle_version") or "unknown")[:_LONG_STRING]


def algorithm(statistics: Mapping[str, Any]) -> highdicom.AlgorithmIdentificationSequence:
    """Algorithm Identification (PS3.3 10.16), its family of CID 7162."""
    return highdicom.AlgorithmIdentificationSequence(
        made_by(statistics), codes.cid7162.ArtificialIntelligence, version(statistics), source=MANUFACTURER
    )


def descriptions(finding: Finding) -> Sequence[SegmentDescription]:
    """Segment Descriptions (PS3.3 C.8.20.4) of the finding's labels, in their order.

    TrackingID and TrackingUID name a label of this source and bundle, whichever object speaks of it.
    """
    return [
        SegmentDescription(
            segment.number,
            segment.name[:_LONG_STRING],
            coded(segment.category),
            coded(segment.kind),
            SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm(finding.statistics),
            tracking_uid=finding.uid(f"tracking {segment.name}"),
            tracking_id=f"{made_by(finding.statistics)} {segment.name}",
            anatomic_regions=[coded(segment.region)] if segment.region else None,
            display_color=CIELabColor.from_rgb(*segment.colour_rgb),
        )
        for segment in finding.segments
    ]


def coded(code: Code) -> CodedConcept:
    """A code as highdicom takes it."""
    return CodedConcept(code.value, code.scheme, code.meaning)
