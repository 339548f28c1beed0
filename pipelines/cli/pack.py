"""The verbs `pack` and `unpack`."""

from pathlib import Path
from typing import Annotated

import typer

from radseg.pipelines.cli.options import Bundle, Overwrite, Quiet, TrustConfig, Verbose, Weights
from radseg.pipelines.cli.verb import verb

_Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that gets the bundle's folder or zip.")]


@verb
def pack(
    bundle: Bundle,
    output: _Output,
    weights: Weights = None,
    torchscript: Annotated[bool, typer.Option("--torchscript", help="Add the network as models/model.ts.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Add the network as models/model.onnx; needs onnx.")] = False,
    openvino: Annotated[bool, typer.Option("--openvino", help="Add the network as models/model.xml and .bin.")] = False,
    as_zip: Annotated[bool, typer.Option("--zip", help="Write one zip instead of a folder.")] = False,
    allow_no_weights: Annotated[
        bool, typer.Option("--allow-no-weights", help="Pack a bundle that has no trained weights yet.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Write a bundle as MONAI's tools, a model zoo and the annotation server take it: configs/, models/, docs/.

    The same bundle gives the same bytes again.

    Example: `radseg pack lung_xray -o packed --zip --onnx`
    """
    from radseg.pipelines.pack import pack as run

    forms = {"torchscript": torchscript, "onnx": onnx, "openvino": openvino}
    choices = {"as_zip": as_zip, "overwrite": overwrite, "allow_no_weights": allow_no_weights}
    place = run(bundle, output, weights=weights, trust_config=trust_config, **forms, **choices)
    if not quiet:
        print(place)
    return 0


@verb
def unpack(
    archive: Annotated[Path, typer.Argument(metavar="ZIP", help="What `radseg pack --zip` or a model zoo wrote.")],
    output: _Output,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Unpack the zip of a bundle; one that points outside, holds links or swells beyond reason is refused.

    Nothing in it is run. A config is code: `radseg segment FOLDER …` asks for --trust-config.

    Example: `radseg unpack lung_xray.zip -o bundles`
    """
    from radseg.pipelines.pack import unpack as run

    place = run(archive, output, overwrite=overwrite)
    if not quiet:
        print(place)
    return 0
