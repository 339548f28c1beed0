"""The verbs `label start`, `label token`, `label versions` and `label rollback`."""

from pathlib import Path
from typing import Annotated

import typer

from radseg.pipelines.cli.options import Device, Quiet, Verbose
from radseg.pipelines.cli.verb import say, verb

label = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Annotation server by MONAI Label, for 3D Slicer and OHIF: segments, takes corrected labels, trains on them.",
)

_Workspace = Annotated[Path, typer.Option(help="Folder for versions, tokens and the log; for this user alone.")]
_WORKSPACE = Path("runs/label")


@label.command()
@verb
def start(
    studies: Annotated[str, typer.Option(help="Folder of images, or http://HOST/dicom-web of an archive.")],
    bundles: Annotated[str | None, typer.Option(help="Such as spine,lung_ct; else all that have weights.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="BUNDLE=FILE", help="Version 1 in a new workspace, not what ships; again for more."),
    ] = None,
    workspace: _Workspace = _WORKSPACE,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8000,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines reach it; needs the two TLS files.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, PEM; clients call the names in it.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM, without a password.")] = None,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="How many MB a file that is sent may have.")] = 1024,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Serve bundles to 3D Slicer and OHIF until stopped.

    Clients need the token that the server keeps in WORKSPACE/guard/token.

    Example: `radseg label start --studies IMAGES --bundles lung_xray --port 8000`
    """
    from radseg.pipelines.label_server import launch

    names = [name for name in (bundles or "").split(",") if name]
    server = launch.start(
        studies, bundles=names, weights=weights or (), workspace=workspace, host=host, port=port, device=device,
        allow_remote=allow_remote, tls_cert=tls_cert, tls_key=tls_key, max_upload_mb=max_upload_mb, verbose=verbose,
    )  # fmt: skip
    try:
        if not quiet:
            say(f"serving at {server.url} (viewer: {server.url}/ohif/); token in {server.token_file}; Ctrl-C stops")
        launch.wait(server)
    finally:
        server.stop()
    return 0


@label.command()
@verb
def token(
    role: Annotated[str, typer.Argument(help="user (segments, submits), reviewer (also removes) or admin (trains).")],
    file: Annotated[Path, typer.Argument(help="New file for it, of mode 600.")],
    days: Annotated[float, typer.Option(min=0.001, max=3660, help="For how long it is taken.")] = 30.0,
    workspace: _Workspace = _WORKSPACE,
    verbose: Verbose = False,
) -> int:
    """Make a token for somebody else. Deleting WORKSPACE/guard/key and starting again ends all of them.

    Example: `radseg label token user anna.token --days 7`
    """
    from radseg.pipelines.label_server.launch import make_token

    make_token(role, file, workspace=workspace, days=days)
    return 0


@label.command()
@verb
def versions(
    bundle: Annotated[str, typer.Argument(help="Bundle's name.")],
    workspace: _Workspace = _WORKSPACE,
    verbose: Verbose = False,
) -> int:
    """List the versions of a bundle in a workspace; the one that serves is marked with a star.

    Example: `radseg label versions lung_xray`
    """
    from radseg.pipelines.label_server.models.versions import Versions

    held = Versions(workspace)
    current = held.current(bundle)
    for version in held.list(bundle):
        star, weights = "*" if version.number == current else " ", (version.weights_sha256 or "no weights")[:10]
        note = ", ".join(f"{key} {value}" for key, value in version.note.items() if not isinstance(value, list | dict))
        print(f"{star} {version.number}  {version.created}  {weights}  {note}")
    return 0


@label.command()
@verb
def rollback(
    bundle: Annotated[str, typer.Argument(help="Bundle's name.")],
    to: Annotated[int, typer.Option(min=1, help="Version that is to serve.")],
    workspace: _Workspace = _WORKSPACE,
    verbose: Verbose = False,
) -> int:
    """Let an earlier version of a bundle serve; a running server takes it at the next request.

    Example: `radseg label rollback lung_xray --to 1`
    """
    from radseg.pipelines.label_server.models.versions import Versions

    Versions(workspace).roll_back(bundle, to)
    return 0
