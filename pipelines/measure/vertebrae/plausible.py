"""Grades of the bodies that can be vertebrae; of the others why their heights can't be right."""

from __future__ import annotations

from collections.abc import Sequence

from radseg.pipelines.measure.vertebrae.genant import Deformity, deformities
from radseg.pipelines.measure.vertebrae.heights import MeasuredBody
from radseg.transforms.vertebrae.endplates import Body

MOST_MIDDLE = 1.1
"""The middle height over the higher of anterior and posterior: endplates are concave, so in life it is at most 1."""

MOST_FRONT = 1.5
"""Anterior over posterior height: the most wedged to the back, L5, has some 1.2, and fractures lower the front."""

MOST_MIDDLE_TO_REAR = 1.25
"""Middle over posterior height: some 1 in life, and no form of fracture lowers the back more than the middle."""

MOST_TALL = 1.3
"""The mean height over the depth: whole bodies of two real CTs have 0.7 to 1.05, two joined ones some 1.7."""

MOST_GAIN = 0.3
"""Share that a height may have above the expected one: three times what intact ones are off by at worst."""


def plausible_deformities(
    bodies: Sequence[MeasuredBody], marked: Sequence[bool]
) -> tuple[list[Deformity | None], list[str | None]]:
    """Grade the vertebrae as `deformities` does, leaving out those whose heights no vertebra has.

    A mask that bulges into a disc, lacks a corner or joins two vertebrae still has heights, and a grade could be
    computed. Such a body gets none, and is no reference for the others. First those are left out whose own form can't
    be a vertebra's (`shape_doubt`), then, the worst first, those that are higher than the others say by more than
    `MOST_GAIN`: a fracture lowers a body, nothing makes it higher. Each bound is widened by the grid's error.

    Args:
        bodies: from the highest vertebra to the lowest.
        marked: whether the mask calls it fractured.

    Returns:
        The deformities, None where there is no grade, and for each vertebra why its heights are implausible or None.
    """
    doubts = [None if one.body is None else shape_doubt(one.body, one.uncertainty_mm) for one in bodies]
    errors_mm = [one.uncertainty_mm for one in bodies]
    while True:
        heights = [
            None if one.body is None or doubt is not None else one.body.heights
            for one, doubt in zip(bodies, doubts, strict=True)
        ]
        graded = deformities(heights, marked, errors_mm)
        gains = {
            place: gain
            for place, one in enumerate(graded)
            if one is not None and (gain := _gain(one, errors_mm[place])) > MOST_GAIN
        }
        if not gains:
            return graded, doubts
        worst = max(gains, key=lambda place: gains[place])
        doubts[worst] = (
            f"implausible: over {100 * MOST_GAIN:.0f} % higher than the other vertebrae say, and nothing makes a body "
            "higher: its mask or theirs is wrong, or theirs are crushed"
        )


def shape_doubt(body: Body, uncertainty_mm: float) -> str | None:
    """Why no vertebra has this form, or None.

    Args:
        body: its outline and heights.
        uncertainty_mm: of each height.
    """
    front, middle, rear = (getattr(body.heights, f"{part}_mm") for part in ("anterior", "middle", "posterior"))
    depth, mean = 2 * body.half_depth_mm, (front + middle + rear) / 3
    if mean - uncertainty_mm > MOST_TALL * depth:
        return (
            f"implausible: {mean:.0f} mm high and {depth:.0f} mm deep, so two vertebrae may be joined in the mask; "
            "correct it"
        )
    if middle - uncertainty_mm > MOST_MIDDLE * max(front, rear):
        return (
            f"implausible: {middle:.0f} mm in the middle, above {front:.0f} mm in front and {rear:.0f} mm behind, "
            "where endplates are concave: the mask bulges or lacks an edge; correct it"
        )
    if front - uncertainty_mm > MOST_FRONT * rear or middle - uncertainty_mm > MOST_MIDDLE_TO_REAR * rear:
        return (
            f"implausible: {front:.0f} mm in front and {middle:.0f} mm in the middle of {rear:.0f} mm behind, where no "
            "fracture lowers the back most: the mask lacks a part or has too much; correct it"
        )
    return None


def _gain(deformity: Deformity, uncertainty_mm: float) -> float:
    """The largest share by which a height is above the expected one for sure; 0 without neighbours."""
    if deformity.of_neighbours is None or deformity.expected is None:
        return 0.0
    expected = deformity.expected.anterior_mm, deformity.expected.middle_mm, deformity.expected.posterior_mm
    return max(-lost - uncertainty_mm / mm for lost, mm in zip(deformity.of_neighbours, expected, strict=True))
