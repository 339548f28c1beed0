"""The verbs below `experiment`: a bundle's scores on folds, what its parts are worth, its opponents, its settings."""

from typing import Annotated, Any

import typer

from radseg.pipelines.cli.options import (
    OVERRIDES,
    Bundle,
    DatasetDir,
    Device,
    Quiet,
    Rest,
    TrustConfig,
    Verbose,
)
from radseg.pipelines.cli.verb import say, verb
from radseg.pipelines.overrides import numbers, with_paths

experiment = typer.Typer(
    no_args_is_help=True,
    help="Train and test on folds of a dataset: results as JSON, CSV and one page, the paper's numbers beside ours.",
)

Output = Annotated[str | None, typer.Option("--output", "--output_dir", "-o", help="Folder for the results.")]
Folds = Annotated[int, typer.Option(min=1, help="1: the datalist's own training, validation and test.")]
By = Annotated[str, typer.Option(help="patient; image, which leaks between patients and is said to.")]
Choose = Annotated[str, typer.Option(help="Weights: the best epoch's on the validation fold, or the last epoch's.")]
Only = Annotated[str | None, typer.Option(help="Folds to run now, such as 0,1.")]
Variants = Annotated[str | None, typer.Option(help='Such as "full,no FFM"; the baseline always runs.')]
Seed = Annotated[int, typer.Option(help="Of folds and training.")]


@experiment.command("cross-validate", context_settings=OVERRIDES)
@verb
def cross_validate(
    bundle: Bundle,
    rest: Rest = None,
    dataset_dir: DatasetDir = None,
    output: Output = None,
    folds: Folds = 5,
    by: By = "patient",
    choose: Choose = "validation",
    only: Only = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Train and test a bundle on folds; by patient, each case is tested by a network that never saw its patient.

    Run again, it goes on where it was. OUT/BUNDLE/fold_K/model.pt are the networks.

    Example: `radseg experiment cross-validate lung_ct --dataset_dir DATA --folds 5 --output OUT --max_epochs 50`
    """
    return _conduct(
        "cross_validate", bundle, rest, None, only, quiet, trust_config=trust_config, dataset_dir=dataset_dir,
        output_dir=output, folds=folds, by=by, choose=choose, seed=seed, device=device,
    )  # fmt: skip


@experiment.command("ablate", context_settings=OVERRIDES)
@verb
def ablate(
    bundle: Bundle,
    rest: Rest = None,
    variants: Variants = None,
    dataset_dir: DatasetDir = None,
    output: Output = None,
    folds: Folds = 5,
    by: By = "patient",
    choose: Choose = "validation",
    only: Only = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Train and test a bundle without one of its parts at a time, as its experiments.json plans.

    Run again, it goes on where it was, and adds variants that weren't asked for before.

    Example: `radseg experiment ablate spine --dataset_dir DATA --variants "full,no FFM" --output OUT`
    """
    return _conduct(
        "ablate", bundle, rest, variants, only, quiet, trust_config=trust_config, dataset_dir=dataset_dir,
        output_dir=output, folds=folds, by=by, choose=choose, seed=seed, device=device,
    )  # fmt: skip


@experiment.command("compare", context_settings=OVERRIDES)
@verb
def compare(
    bundle: Bundle,
    rest: Rest = None,
    variants: Variants = None,
    dataset_dir: DatasetDir = None,
    output: Output = None,
    folds: Folds = 5,
    by: By = "patient",
    choose: Choose = "validation",
    only: Only = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Train and test a bundle's network and its opponents on the same folds, as its experiments.json plans.

    Run again, it goes on where it was, and adds variants that weren't asked for before.

    Example: `radseg experiment compare pelvis_xray --dataset_dir DATA --folds 5 --output OUT`
    """
    return _conduct(
        "compare", bundle, rest, variants, only, quiet, trust_config=trust_config, dataset_dir=dataset_dir,
        output_dir=output, folds=folds, by=by, choose=choose, seed=seed, device=device,
    )  # fmt: skip


@experiment.command("search", context_settings=OVERRIDES)
@verb
def search(
    bundle: Bundle,
    rest: Rest = None,
    trials: Annotated[int, typer.Option(min=1, help="How many there shall be, earlier ones included.")] = 20,
    startup_trials: Annotated[
        int,
        typer.Option(
            "--startup-trials", "--startup_trials", min=0, help="Trained to their end before any trial may be pruned."
        ),
    ] = 5,
    warmup_epochs: Annotated[
        int,
        typer.Option(
            "--warmup-epochs", "--warmup_epochs", min=0, help="The first epoch after which a trial may be pruned."
        ),
    ] = 5,
    dataset_dir: DatasetDir = None,
    output: Output = None,
    seed: Annotated[int, typer.Option(help="Of suggestions and training.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Search the settings that a bundle's experiments.json names, by the metric it names; needs radseg[search].

    A trial is pruned, stopped early, when its best epoch so far is worse than the median of the finished trials at that
    epoch. Run again, the search goes on where it was; with more --trials it adds to them.

    Example: `radseg experiment search spine --dataset_dir DATA --trials 30 --output OUT --max_epochs 40`
    """
    from radseg.pipelines.experiments.cells import counted
    from radseg.pipelines.experiments.search import search as run

    overrides = with_paths(rest, dataset_dir=dataset_dir)
    options = {"seed": seed, "device": device, "progress": not quiet}
    found = run(
        bundle, trials=trials, startup_trials=startup_trials, warmup_epochs=warmup_epochs, output_dir=output,
        trust_config=trust_config, **{**options, **overrides},
    )  # fmt: skip
    if not quiet and found.best is not None:
        ended = counted(len(found.trials), "trial")
        print(f"best of {ended}: {found.metric} {found.best.value:.4f}\n{found.command}")
    return 1 if any(trial.status == "failed" for trial in found.trials) else 0


def _conduct(
    kind: str,
    bundle: str,
    rest: list[str] | None,
    variants: str | None,
    only: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Runs one of the three and tells how it ended."""
    from radseg.pipelines.experiments import verbs
    from radseg.pipelines.experiments.summary import summary

    overrides = with_paths(rest)
    chosen = verbs.Options(
        datalist=overrides.pop("datalist", None), only=numbers("--only", only), progress=not quiet, **options
    )
    wanted = {} if variants is None else {"variants": [name.strip() for name in variants.split(",")]}
    results = getattr(verbs, kind)(bundle, chosen, **wanted, **overrides)
    for run in results.failed:
        say(f"failed: {run.folder}: {run.error}")
    if not quiet:
        print(*summary(results), sep="\n")
    return 1 if results.failed else 0
