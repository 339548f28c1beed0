"""The verb `measure`."""

from enum import StrEnum
from typing import Annotated

import typer

from radseg.pipelines.cli.options import Quiet, Verbose
from radseg.pipelines.cli.verb import say, verb
from radseg.pipelines.io.store.missing import refuse_missing


class Kind(StrEnum):
    """What a mask can be measured as."""

    SPINE = "spine"
    LUNG_CT = "lung_ct"
    LUNG_XRAY = "lung_xray"
    PELVIS_XRAY = "pelvis_xray"


@verb
def measure(
    mask: Annotated[str, typer.Argument(help="Mask: NIfTI, NRRD, MHA, DICOM SEG or PNG; file or URL.")],
    kind: Annotated[Kind, typer.Option("--as", help="What the mask shows.")],
    image: Annotated[
        str | None,
        typer.Argument(help="What it was drawn on; for density in HU, a PNG mask's pixel size, and any DICOM SEG."),
    ] = None,
    top_level: Annotated[
        str | None, typer.Option("--top-level", "--top_level", help="spine: level of the topmost vertebra, such as T5.")
    ] = None,
    from_bottom: Annotated[
        bool, typer.Option("--from-bottom", "--from_bottom", help="spine: count vertebrae from the lowest.")
    ] = False,
    lobes: Annotated[
        str | None, typer.Option(help="lung_ct: the five lobes, with TotalSegmentator's or lungmask's values.")
    ] = None,
    lung_mask: Annotated[
        str | None, typer.Option("--lung-mask", "--lung_mask", help="lung_ct: the lungs, as one value or one a side.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="File for the numbers: .json or .csv.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Measure a mask, whoever made it: each number with unit, method and, where it is doubtful, a warning.

    Not a medical device.

    Example: `radseg measure lesion.nii.gz ct.nii.gz --as lung_ct --lobes lobes.nii.gz -o lesion.csv`

    Example: `radseg measure vertebrae.nii.gz ct.nii.gz --as spine --top-level T5`

    Example: `radseg measure segmentation.dcm CT_FOLDER --as lung_ct`
    """
    refuse_missing(mask, image, lobes, lung_mask)
    from radseg.pipelines.measure.table import as_lines
    from radseg.pipelines.measure_masks import measure as run

    measured = run(
        mask, image, kind=kind.value, top_level=top_level, from_bottom=from_bottom, lobes=lobes, lung_mask=lung_mask,
        output=output,
    )  # fmt: skip
    for warning in measured.warnings if not quiet else ():
        say(f"warning: {warning}")
    for line in as_lines(measured.rows) if not quiet else ():
        print(line)
    if output is not None and not quiet:
        print(f"written to {output}")
    return 0
