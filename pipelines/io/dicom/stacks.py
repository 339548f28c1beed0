"""The stacks of slices that one DICOM series holds: other directions, sizes or spacings, and scans made twice.

A SeriesInstanceUID doesn't promise one volume: axial and coronal reformats, or the phases of a scan repeated over the
same positions, may share it. Each stack found here is for `select_slices` to judge.
"""

from collections.abc import Sequence

from radseg.pipelines.io.dicom.arrangement import Slice
from radseg.pipelines.io.dicom.ct_series import not_a_slice
from radseg.pipelines.io.dicom.header import Header
from radseg.pipelines.io.dicom.slice_groups import alike, follow_each_other, is_stray, places_of

_SCAN_ATTRIBUTES = ("temporal_position", "acquisition_number")


def stacks_of(headers: Sequence[Header], modality: str = "CT") -> list[list[Header]]:
    """The stacks of one series, the one with most slices first, each in the order of `headers`.

    Slices are told apart by matrix, PixelSpacing and ImageOrientationPatient, then, where scans lie over the same
    positions, by TemporalPositionIdentifier or AcquisitionNumber. A series is split only into what can be stacks: one
    or two slices unlike the many (a localizer that isn't marked) and files that are no slices stay with the largest
    stack, whose `select_slices` sets them aside; turned slices that don't follow each other along their own normal
    keep the series together, to be refused.

    Args:
        headers: all single-frame files of a series, or one multi-frame file, which is never split.
        modality: DICOM Modality that is wanted.

    Returns:
        Lists that hold every header once; one list when there is nothing to split.
    """
    planes: list[Slice] = []
    slices: list[Header] = []
    for header in headers:
        plane = header.slices[0] if header.frames == 1 else None
        if plane is not None and not not_a_slice(header, modality):
            planes.append(plane)
            slices.append(header)
    groups = alike(planes)
    groups = [group for group in groups if not is_stray(group, groups[0])]
    if not all(len(group) == 1 or follow_each_other([planes[index] for index in group]) for group in groups):
        return [list(headers)]
    stacks = [scan for group in groups for scan in _scans(group, planes, slices)]
    if len(stacks) < 2:
        return [list(headers)]
    stacks.sort(key=len, reverse=True)
    stack_of = {slices[index].path: number for number, stack in enumerate(stacks) for index in stack}
    return [
        [header for header in headers if stack_of.get(header.path, 0) == number]  # what is in none goes to the largest
        for number in range(len(stacks))
    ]


def _scans(group: list[int], planes: Sequence[Slice], slices: Sequence[Header]) -> list[list[int]]:
    """Scans over the same positions; the group as it is where nothing tells them apart."""
    places = dict(zip(group, places_of([planes[index] for index in group]), strict=True))
    if len(set(places.values())) == len(group):
        return [group]
    for attribute in _SCAN_ATTRIBUTES:
        numbers = {index: getattr(slices[index], attribute) for index in group}
        known = sorted({number for number in numbers.values() if number is not None})
        if len(known) < 2 or None in numbers.values():
            continue
        parts = [[index for index in group if numbers[index] == number] for number in known]
        scans = _joined(parts, places)
        if len(scans) == 1:
            continue
        covered = [{places[index] for index in scan} for scan in scans]
        if len(scans) < len(parts) and any(one != covered[0] for one in covered):
            scans = parts  # how parts belong together is only clear where each scan covers the same places
        if all(len({places[index] for index in scan}) > 1 for scan in scans):
            return scans
    return [group]


def _joined(parts: Sequence[list[int]], places: dict[int, int]) -> list[list[int]]:
    """Parts in order put together until one comes back to a place: a scan may be acquired in several."""
    scans: list[list[int]] = []
    taken: set[int] = set()
    for part in parts:
        here = {places[index] for index in part}
        if not scans or here & taken:
            scans.append([])
            taken = set()
        scans[-1].extend(part)
        taken |= here
    return scans
