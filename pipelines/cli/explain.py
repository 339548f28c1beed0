"""The verb `explain`."""

from pathlib import Path
from typing import Annotated

import typer

from radseg.pipelines.cli.options import Bundle, Device, Overwrite, Quiet, TrustConfig, Verbose, Weights
from radseg.pipelines.cli.verb import say, verb
from radseg.pipelines.io.store.missing import refuse_missing
from radseg.pipelines.overrides import given, parse


@verb
def explain(
    bundle: Bundle,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT... [--KEY VALUE]...", help="Files, folders or URLs; config overrides.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder or URL for the results.")],
    method: Annotated[str, typer.Option(help="gradcam, gradcam++ or attention (lung_ct's gates).")] = "gradcam",
    layer: Annotated[str | None, typer.Option(help="Layer to explain; else the bundle's explain_layer.")] = None,
    label: Annotated[str | None, typer.Option(help="Name or number; else the label with most voxels.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Mask of the only image, or a folder of masks named as the images.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Region whose logits are explained: truth (if given) or prediction.")
    ] = None,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Also compare with maps of random weights (Adebayo et al. 2018).")
    ] = False,
    weights: Weights = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Show where the network looked: a heat map for each image, and how much of it lies in the mask.

    Each case gets OUT/CASE/ with heatmap.nii.gz on the image's own grid (heatmap.png for a picture), the mask,
    explain.png (image, truth, prediction, heat map) and explain.json.

    Example: `radseg explain lung_ct CT.nii.gz -o why --truth LESIONS.nii.gz --sanity`
    """
    paths, overrides = parse(inputs)
    refuse_missing(*paths)
    from radseg.pipelines.explain import explain as run

    options = {"device": device, "overwrite": overwrite, "progress": not quiet, **given(weights=weights)}
    result = run(
        bundle, paths, output, method=method, layer=layer, label=label, truth=truth, target=target, sanity=sanity,
        trust_config=trust_config, **{**options, **overrides},
    )  # fmt: skip
    for source, reason in result.refused.items():
        say(f"refused {source}: {reason}")
    for case, reason in result.failed.items():
        say(f"failed {case}: {reason}")
    for case, record in result.done.items() if not quiet else ():
        for warning in record["warnings"]:
            say(f"warning {case}: {warning}")
        shares = [row for row in record["measurements"] if row["value"] is not None]
        for row in shares:
            print(f"{case}: {row['value']:.1f} % of {row['name']}")
        for row in record.get("sanity", [])[-1:]:
            said = (
                "a map without ranks" if (found := row["rank_correlation"]) is None else f"rank correlation {found:.2f}"
            )
            print(f"{case}: with all weights random {said}")
    if not quiet:
        print(f"{len(result.done)} explained, {len(result.failed)} failed; see {result.destination}")
    if not (result.done or result.failed):
        say("error: no usable image among the inputs")
    return 0 if result.ok else 1
