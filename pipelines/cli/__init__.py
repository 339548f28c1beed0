"""The command `radseg`: one function a verb, no logic; heavy imports wait until a verb runs."""

from importlib.metadata import version
from typing import Annotated

import typer

from radseg.pipelines.cli.data import data
from radseg.pipelines.cli.experiment import experiment
from radseg.pipelines.cli.explain import explain
from radseg.pipelines.cli.label import label
from radseg.pipelines.cli.listen import listen
from radseg.pipelines.cli.measure import measure
from radseg.pipelines.cli.options import OVERRIDES
from radseg.pipelines.cli.pack import pack, unpack
from radseg.pipelines.cli.segment import segment
from radseg.pipelines.cli.train import evaluate, train, validate

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Radiology segmentation bundles: CT or X-ray in, mask on the original grid out. Not a medical device.",
    epilog="Exit codes: 0 all done, 1 some cases failed or none was usable, 2 wrong usage, config or weights, "
    "130 or 143 stopped by Ctrl-C or SIGTERM.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"radseg {version('radseg')}")
        raise typer.Exit


@app.callback()
def common(
    says_version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which radseg this is.")
    ] = False,
) -> None:
    """What stands before the verb."""


for verb in (segment, train, evaluate, explain, validate, listen):
    app.command(context_settings=OVERRIDES)(verb)
app.command()(measure)
app.command()(pack)
app.command()(unpack)
app.add_typer(experiment, name="experiment")
app.add_typer(data, name="data")
app.add_typer(label, name="label")


def main() -> None:
    """Entry point of the command `radseg`."""
    app()
