"""The verbs that make, score and check a bundle's weights and files: `train`, `evaluate`, `validate`."""

from typing import Annotated, Any

import typer

from radseg.pipelines.cli.options import (
    Bundle,
    DatasetDir,
    Device,
    Fold,
    Folds,
    OutputDir,
    Overwrite,
    Precision,
    Quiet,
    Rest,
    Runtime,
    Temperature,
    Threshold,
    TrustConfig,
    Tta,
    Verbose,
    Weights,
)
from radseg.pipelines.cli.verb import say, verb
from radseg.pipelines.io.store.missing import refuse_missing
from radseg.pipelines.overrides import given, number_or_path, numbers, with_paths


@verb
def train(
    bundle: Bundle,
    rest: Rest = None,
    dataset_dir: DatasetDir = None,
    output: OutputDir = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="pelvis_xray: ImageNet weights, Keras .h5 without top or torchvision state dict.")
    ] = None,
    fold: Fold = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT/last.pt, in mid-epoch too.")] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Train a bundle; OUT/model.pt holds the best epoch's weights.

    Without a dataset it trains on the sample data. An earlier run in OUT is moved aside, never lost. Any key of the
    bundle's train.json can be set, such as --max_epochs, --learning_rate, --batch_size, --image_size or --spacing_mm;
    docs/data.md says how a dataset is written down.

    Example: `radseg train spine --dataset_dir DATA --output runs/spine --max_epochs 50`
    """
    overrides = {**given(fold=fold), **with_paths(rest, dataset_dir=dataset_dir, output_dir=output)}
    refuse_missing(dataset_dir)
    from radseg.pipelines.train import train as run
    from radseg.pipelines.training.distributed import speaks

    options = {"device": device, "resume": resume, "overwrite": overwrite, "progress": not quiet}
    if encoder_weights is not None:
        options["encoder_weights"] = encoder_weights
    result = run(bundle, trust_config=trust_config, **{**options, **overrides})
    if not quiet and speaks():
        ended = "stopped early" if result.stopped_early else "done"
        epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
        print(f"{ended} after {epochs}, best {result.best_metric:.4f}; weights: {result.weights}")
    return 0


@verb
def evaluate(
    bundle: Bundle,
    rest: Rest = None,
    dataset_dir: DatasetDir = None,
    output: OutputDir = None,
    weights: Weights = None,
    split: Annotated[
        str | None, typer.Option(help="List to score: training, validation or test; test otherwise, see --fold.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(help='Score the items with this "fold" in training and validation instead.')
    ] = None,
    precision: Precision = None,
    runtime: Runtime = None,
    tta: Tta = None,
    folds: Folds = None,
    temperature: Temperature = None,
    threshold: Threshold = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="First fit a temperature on validation; writes temperature.json.")
    ] = False,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Score a bundle against labels: overlap, HD95, surface Dice per case, calibration error; as CSV and JSON.

    Example: `radseg evaluate lung_ct --dataset_dir DATA --split validation --weights runs/lung_ct/model.pt`
    """
    refuse_missing(dataset_dir)
    from radseg.pipelines.evaluate import evaluate as run

    engine: dict[str, Any] = {"precision": precision, "runtime": runtime, "tta": tta}
    engine["folds"] = numbers("--folds", folds)
    engine |= {"temperature": number_or_path(temperature), "threshold": threshold, "calibrate": calibrate or None}
    engine |= {"split": split, "fold": fold}
    overrides = {**given(**engine), **with_paths(rest, dataset_dir=dataset_dir, output_dir=output, weights=weights)}
    options = {"device": device, "progress": not quiet}
    result = run(bundle, trust_config=trust_config, **{**options, **overrides})
    if not quiet:
        for label, mean in result["mean"].items():
            shown = (f"{name} {value:.4f}" for name, value in mean.items() if isinstance(value, float))
            print(f"{label}: {', '.join(shown)}")
        if result["calibration"]:
            print(_calibration(result["calibration"]))
        kind = "simulated cases" if result["simulated"] else "cases"
        print(f"{result['cases']} {kind}; {result['convention']}")
        print(f"scores in {result.place}: metrics.csv, metrics.json")
    return 0


def _calibration(found: dict[str, Any]) -> str:
    """The errors of "calibration" in metrics.json, in a line."""

    def told(errors: dict[str, Any]) -> str:
        near, everywhere = (
            "none" if errors[which] is None else f"{errors[which]:.4f}" for which in ("error_near", "error_all")
        )
        return f"{near} near the labels, {everywhere} in all voxels"

    line = f"expected calibration error {told(found['before'])}"
    return f"{line}; at temperature {found['temperature']:g} {told(found['after'])}" if found["after"] else line


@verb
def validate(bundle: Bundle, rest: Rest = None, verbose: Verbose = False, trust_config: TrustConfig = False) -> int:
    """Check a bundle's files: metadata, configs, components, references, network, weights.

    Example: `radseg validate spine`
    """
    from radseg.pipelines.validate import validate as run

    problems = run(bundle, trust_config=trust_config, overrides=with_paths(rest))
    for problem in problems:
        say(problem)
    print(f"{bundle}: {len(problems)} problems" if problems else f"{bundle}: valid")
    return 2 if problems else 0
