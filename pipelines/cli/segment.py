"""The verb `segment`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from radseg.pipelines.cli.options import (
    Bundle,
    Device,
    Folds,
    Overwrite,
    Precision,
    Quiet,
    Runtime,
    SendTo,
    Temperature,
    Threshold,
    TrustConfig,
    Tta,
    Verbose,
    Weights,
)
from radseg.pipelines.cli.verb import say, verb
from radseg.pipelines.io.store.missing import refuse_missing
from radseg.pipelines.overrides import given, number_or_path, numbers, parse


@verb
def segment(
    bundle: Bundle,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT... [--KEY VALUE]...", help="Files, folders or URLs; config overrides.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder or URL for the results.")],
    weights: Weights = None,
    series: Annotated[str | None, typer.Option(help="Take only the DICOM series with this SeriesInstanceUID.")] = None,
    precision: Precision = None,
    runtime: Runtime = None,
    tta: Tta = None,
    folds: Folds = None,
    temperature: Temperature = None,
    threshold: Threshold = None,
    device: Device = "auto",
    output_type: Annotated[
        str | None, typer.Option(help="nifti (always), dicom_seg, dicom_rtstruct, dicom_sr; several with commas.")
    ] = None,
    seg_type: Annotated[str | None, typer.Option(help="Of dicom_seg: binary (default), labelmap, fractional.")] = None,
    send_to: SendTo = None,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="No identities in the DICOM files; names and UIDs by keyed hash.")
    ] = False,
    deidentify_key: Annotated[
        Path | None, typer.Option(help="File with the key of --deidentify; else one is made in ~/.config/radseg.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html for each case: a viewer and all numbers, offline.")
    ] = False,
    with_identity: Annotated[
        bool, typer.Option("--with-identity", help="Put name, id and study date of the DICOM header on the report.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", "-j", min=1, help="Cases at a time; on Ray, workers of a cluster without GPUs.")
    ] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: local (here), auto or HOST:PORT of a cluster.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Segment images: DICOM folders, zips, NIfTI, NRRD, MHA; PNG slices for lung_ct; PNG, JPEG, DX and CR X-rays.

    Each case gets OUT/CASE/ with mask.nii.gz on the image's own grid (mask.png for a PNG), statistics.json and
    preview.png (and report.html, if asked for), and a line in OUT/manifest.jsonl; the batch gets summary.csv and
    index.html. Run again, it does only what is missing.

    Example: `radseg segment spine CT_FOLDER -o masks --weights runs/spine/model.pt --precision fast`

    Example: `radseg segment lung_ct dicomweb+https://pacs/dicom-web/studies/UID -o masks --output-type dicom_seg`
    """
    paths, overrides = parse(inputs)
    refuse_missing(*paths)
    if ray is None:
        from radseg.pipelines.segment import segment as run
    else:
        from radseg.pipelines.scale import segment_on_ray

        run = partial(segment_on_ray, address=ray)

    engine: dict[str, Any] = {"precision": precision, "runtime": runtime, "tta": tta}
    engine["folds"] = numbers("--folds", folds)
    engine |= {"temperature": number_or_path(temperature), "threshold": threshold}
    dicom: dict[str, Any] = {"output_type": output_type, "seg_type": seg_type, "send_to": send_to}
    if deidentify or deidentify_key:
        dicom["deidentify"] = deidentify_key or True
    page = {"report": report or None, "with_identity": with_identity or None}
    overrides = {**given(weights=weights, series=series, **engine, **dicom, **page), **overrides}
    options = {"device": device, "workers": workers, "overwrite": overwrite, "progress": not quiet}
    options |= overrides
    batch = run(bundle, paths, output, trust_config=trust_config, **options)
    for note in batch.notes if not quiet else ():
        say(f"note: {note}")
    for case, notes in batch.warnings.items() if not quiet else ():
        say(f"warning {case}: {'; '.join(notes)}")
    for source, reason in batch.refused.items():
        say(f"refused {source}: {reason}")
    for case, reason in batch.failed.items() if not options["progress"] else ():
        say(f"failed {case}: {reason}")
    if not quiet:
        for case in batch.done:
            files = ", ".join(sorted(file.name for file in (batch.output_dir / case).iterdir()))
            print(f"{batch.sources[case]} -> {batch.destination}/{case}: {files}")
        summary = f"{len(batch.done)} done, {len(batch.skipped)} done before, {len(batch.failed)} failed"
        print(f"{summary}, {len(batch.refused)} refused; see {batch.destination}/manifest.jsonl")
    if not (batch.done or batch.skipped or batch.failed):
        say("error: no usable image among the inputs")
    return 0 if batch.ok else 1
