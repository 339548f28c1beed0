"""The verb `listen`."""

from pathlib import Path
from typing import Annotated

import typer

from radseg.pipelines.cli.options import Bundle, Device, Quiet, SendTo, TrustConfig, Verbose, Weights
from radseg.pipelines.cli.verb import say, verb
from radseg.pipelines.overrides import given, with_paths


@verb
def listen(
    bundle: Bundle,
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the results.")],
    rest: Annotated[list[str] | None, typer.Argument(metavar="[--KEY VALUE]...", help="Config overrides.")] = None,
    aet: Annotated[str, typer.Option(help="AE title that senders must call.")] = "RADSEG",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 11112,
    bind: Annotated[str, typer.Option(help="Address to listen at; DICOM isn't encrypted.")] = "127.0.0.1",
    quiet_seconds: Annotated[float, typer.Option(min=0, help="Silence after which a study is complete.")] = 30.0,
    keep_seconds: Annotated[
        float, typer.Option(min=0, help="For how long received images are kept for late ones of their study.")
    ] = 3600.0,
    inbox: Annotated[Path | None, typer.Option(help="Folder for received images, if it isn't OUT/inbox.")] = None,
    send_to: SendTo = None,
    allow_from: Annotated[list[str] | None, typer.Option(help="AE title that may send; again for more.")] = None,
    weights: Weights = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Receive studies by DICOM C-STORE, segment each, send the segmentation back.

    Example: `radseg listen spine -o masks --aet RADSEG --port 11112 --send-to dicom://PACS@127.0.0.1:4242`
    """
    from radseg.pipelines.listen import listen as run

    overrides = with_paths(rest)
    options = {**given(weights=weights, send_to=send_to), "device": device, **overrides}
    run(
        bundle, output, aet=aet, port=port, bind=bind, quiet_seconds=quiet_seconds,
        keep_seconds=keep_seconds, inbox_dir=inbox, allow_from=allow_from or (),
        trust_config=trust_config, say=(lambda line: None) if quiet else say, **options,
    )  # fmt: skip
    return 0
