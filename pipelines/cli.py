"""The command `radseg`: one function a verb, no logic; heavy imports wait until a verb runs."""

import functools
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from radseg.pipelines.overrides import given, numbers, parse, with_paths

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Radiology segmentation bundles: CT or X-ray in, mask on the original grid out. Not a medical device.",
    epilog="Exit codes: 0 all done, 1 some cases failed or none was usable, 2 wrong usage, config or weights.",
)
data = typer.Typer(
    no_args_is_help=True, help="Import published datasets; look one over; make sample data and simulated X-rays."
)
app.add_typer(data, name="data")

_LAYOUTS = "pxr150, covid-radiography, kaggle-covid-ct, folder-of-pairs, msd, nnunet, verse or totalsegmentator."
_GO_ON = {"segment": ", run again to go on", "train": ", --resume goes on after the last whole epoch"}
_OVERRIDES = {"ignore_unknown_options": True, "allow_extra_args": True}

Bundle = Annotated[str, typer.Argument(help="Bundle's name (spine, lung_ct, lung_xray, pelvis_xray) or folder.")]
Rest = Annotated[
    list[str] | None, typer.Argument(metavar="[--KEY VALUE]...", help="Config overrides, such as --max_epochs 3.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Weights = Annotated[str | None, typer.Option(help="State dict to use instead of the bundle's own; file or URL.")]
DatasetDir = Annotated[
    str | None, typer.Option("--dataset-dir", "--dataset_dir", "-d", help="Folder or URL of datalist.json and images.")
]
OutputDir = Annotated[str | None, typer.Option("--output", "--output_dir", "-o", help="Folder or URL for the results.")]
Precision = Annotated[str | None, typer.Option(help="exact (float32, the default) or fast (bfloat16 where there is).")]
Runtime = Annotated[str | None, typer.Option(help="auto, torch, compiled, openvino or cuda.")]
Tta = Annotated[str | None, typer.Option(help="flips: average over mirror images; also says how sure the mask is.")]
Folds = Annotated[str | None, typer.Option(help="Such as 0,1,2: average the networks in WEIGHTS/fold_N/model.pt.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show warnings, logs and tracebacks.")]
TrustConfig = Annotated[bool, typer.Option("--trust-config", help="Run a bundle folder that isn't radseg's own.")]


def _verb(function: Callable[..., int]) -> Callable[..., None]:
    """Runs a verb; what a user can mend ends as one line and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        from radseg.pipelines.errors import ConfigError, RadsegError, WeightsError, one_line

        verbose = kwargs.get("verbose", False)
        _quieten(verbose)
        try:
            code = function(*args, **kwargs)
        except KeyboardInterrupt:
            _say("interrupted; what was finished is kept" + _GO_ON.get(function.__name__, ""))
            code = 130
        except RadsegError as error:
            if verbose:
                raise
            _say(f"error: {' '.join(str(error).split())}")
            code = 2 if isinstance(error, (ConfigError, WeightsError)) else 1
        except Exception as error:
            if verbose:
                raise
            _say(f"error: {one_line(error)} (not foreseen; -v shows where)")
            code = 1
        raise typer.Exit(code)

    return run


@app.command(context_settings=_OVERRIDES)
@_verb
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
    device: Device = "auto",
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Cases at a time.")] = 1,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Segment images: DICOM folders, zips, NIfTI, NRRD, MHA; PNG slices for lung_ct; PNG, JPEG, DX and CR X-rays.

    Each case gets OUT/CASE/ with mask.nii.gz on the image's own grid (mask.png for a PNG), statistics.json and
    preview.png, and a line in OUT/manifest.jsonl. Run again, it does only what is missing.

    Example: `radseg segment spine CT_FOLDER -o masks --weights runs/spine/model.pt --precision fast`
    """
    from radseg.pipelines.segment import segment as run

    paths, overrides = parse(inputs)
    engine = {"precision": precision, "runtime": runtime, "tta": tta, "folds": numbers("--folds", folds)}
    overrides = {**given(weights=weights, series=series, **engine), **overrides}
    options = {"device": device, "workers": workers, "overwrite": overwrite, "progress": not quiet}
    batch = run(bundle, paths, output, trust_config=trust_config, **{**options, **overrides})
    for note in batch.notes if not quiet else ():
        _say(f"note: {note}")
    for case, notes in batch.warnings.items() if not quiet else ():
        _say(f"warning {case}: {'; '.join(notes)}")
    for source, reason in batch.refused.items():
        _say(f"refused {source}: {reason}")
    for case, reason in batch.failed.items() if quiet else ():
        _say(f"failed {case}: {reason}")
    if not quiet:
        for case in batch.done:
            files = ", ".join(sorted(file.name for file in (batch.output_dir / case).iterdir()))
            print(f"{batch.sources[case]} -> {batch.destination}/{case}: {files}")
        summary = f"{len(batch.done)} done, {len(batch.skipped)} done before, {len(batch.failed)} failed"
        print(f"{summary}, {len(batch.refused)} refused; see {batch.destination}/manifest.jsonl")
    if not (batch.done or batch.skipped or batch.failed):
        _say("error: no usable image among the inputs")
    return 0 if batch.ok else 1


@app.command(context_settings=_OVERRIDES)
@_verb
def train(
    bundle: Bundle,
    rest: Rest = None,
    dataset_dir: DatasetDir = None,
    output: OutputDir = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="pelvis_xray: ImageNet weights, Keras .h5 without top or torchvision state dict.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT/last.pt.")] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Train a bundle; OUT/model.pt holds the best epoch's weights.

    Without a dataset it trains on the sample data. An earlier run in OUT is moved aside, never lost.

    Example: `radseg train spine --dataset_dir DATA --output runs/spine --max_epochs 50`
    """
    from radseg.pipelines.train import train as run

    overrides = with_paths(rest, dataset_dir=dataset_dir, output_dir=output)
    options = {"device": device, "resume": resume, "overwrite": overwrite, "progress": not quiet}
    if encoder_weights is not None:
        options["encoder_weights"] = encoder_weights
    result = run(bundle, trust_config=trust_config, **{**options, **overrides})
    if not quiet:
        ended = "stopped early" if result.stopped_early else "done"
        print(f"{ended} after {result.epochs} epochs, best {result.best_metric:.4f}; weights: {result.weights}")
    return 0


@app.command(context_settings=_OVERRIDES)
@_verb
def evaluate(
    bundle: Bundle,
    rest: Rest = None,
    dataset_dir: DatasetDir = None,
    output: OutputDir = None,
    weights: Weights = None,
    precision: Precision = None,
    runtime: Runtime = None,
    tta: Tta = None,
    folds: Folds = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    trust_config: TrustConfig = False,
) -> int:
    """Score a bundle against labels: overlap, HD95 and surface Dice per case, as CSV and JSON.

    Example: `radseg evaluate lung_ct --dataset_dir DATA --split validation --weights runs/lung_ct/model.pt`
    """
    from radseg.pipelines.evaluate import evaluate as run

    engine = {"precision": precision, "runtime": runtime, "tta": tta, "folds": numbers("--folds", folds)}
    overrides = {**given(**engine), **with_paths(rest, dataset_dir=dataset_dir, output_dir=output, weights=weights)}
    options = {"device": device, "progress": not quiet}
    result = run(bundle, trust_config=trust_config, **{**options, **overrides})
    if not quiet:
        for label, mean in result["mean"].items():
            shown = (f"{name} {value:.4f}" for name, value in mean.items() if isinstance(value, float))
            print(f"{label}: {', '.join(shown)}")
        kind = "simulated cases" if result["simulated"] else "cases"
        print(f"{result['cases']} {kind}; {result['convention']}")
    return 0


@app.command(context_settings=_OVERRIDES)
@_verb
def validate(bundle: Bundle, rest: Rest = None, verbose: Verbose = False, trust_config: TrustConfig = False) -> int:
    """Check a bundle's files: metadata, configs, components, references, network, weights.

    Example: `radseg validate spine`
    """
    from radseg.pipelines.validate import validate as run

    problems = run(bundle, trust_config=trust_config, overrides=with_paths(rest))
    for problem in problems:
        _say(problem)
    print(f"{bundle}: {len(problems)} problems" if problems else f"{bundle}: valid")
    return 2 if problems else 0


@data.command("sample")
@_verb
def data_sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder.")] = Path("sample_data"),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Make the small synthetic CTs and X-rays that training and the demo use.

    Example: `radseg data sample -o sample_data`
    """
    from radseg.pipelines.datasets import sample

    folder = sample(output, progress=not quiet)
    if not quiet:
        print(f"sample data in {folder}")
    return 0


@data.command("check")
@_verb
def data_check(
    dataset_dir: Annotated[str, typer.Argument(help="Folder or URL of datalist.json and images.")],
    datalist: Annotated[str | None, typer.Option(help="Datalist, if it isn't DATASET_DIR/datalist.json.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Look for files that can't be read, grids that differ, empty masks and leaks between splits.

    Example: `radseg data check sample_data/spine`
    """
    from radseg.pipelines.datasets import check

    report = check(dataset_dir, datalist, progress=not quiet)
    for problem in report.problems:
        _say(f"problem: {problem}")
    if not quiet:
        for note in report.notes:
            print(f"note: {note}")
        print(", ".join(f"{count} {split}" for split, count in report.items.items()))
        print(
            "label values: " + ", ".join(f"{value} in {n} images" for value, n in sorted(report.label_values.items()))
        )
    return 1 if report.problems else 0


@data.command("import")
@_verb
def data_import(
    layout: Annotated[str, typer.Argument(help=_LAYOUTS)],
    source: Annotated[str, typer.Argument(metavar="DIR", help="The dataset as it was downloaded; folder or URL.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="New folder or URL for datalist.json.")],
    split: Annotated[str, typer.Option(help="patient; slice or image as in the papers; published.")] = "patient",
    ratios: Annotated[str | None, typer.Option(help="Such as 70/10/20; the layout's own otherwise.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Folds of a cross-validation.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images, so that OUT stands on its own.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier import.")] = False,
    images: Annotated[str | None, typer.Option(help="pxr150, folder-of-pairs: the images' folder in DIR.")] = None,
    labels: Annotated[str | None, typer.Option(help="pxr150, folder-of-pairs: the masks' folder in DIR.")] = None,
    label_suffix: Annotated[str | None, typer.Option(help="folder-of-pairs: a mask's ending, such as _mask.")] = None,
    patient_pattern: Annotated[
        str | None, typer.Option(help="folder-of-pairs: regular expression whose first group is the patient.")
    ] = None,
    patients: Annotated[Path | None, typer.Option(help="folder-of-pairs: CSV of image,patient.")] = None,
    classes: Annotated[str | None, typer.Option(help="covid-radiography: such as COVID,Normal.")] = None,
    fractures: Annotated[
        Path | None, typer.Option(help="verse, totalsegmentator: CSV of case,vertebra; these get label 2.")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write OUT/datalist.json for a dataset in a published layout, split by patient.

    Example: `radseg data import covid-radiography COVID-19_Radiography_Dataset lungs`
    """
    from radseg.pipelines.import_dataset import import_dataset

    of_layout: dict[str, Any] = {
        "images": images, "labels": labels, "label_suffix": label_suffix, "patient_pattern": patient_pattern,
        "patients": patients, "classes": classes, "fractures": fractures,
    }  # fmt: skip
    report = import_dataset(
        layout, source, output, split=split, ratios=ratios, folds=folds, seed=seed, copy=copy, overwrite=overwrite,
        progress=not quiet, **{key: value for key, value in of_layout.items() if value is not None},
    )  # fmt: skip
    for warning in (*report.warnings, *([report.leak] if report.leak else [])):
        _say(f"warning: {warning}")
    if not quiet:
        counts = (f"{n} {name} ({report.patients[name]} patients)" for name, n in report.images.items())
        print(f"{report.datalist}: {', '.join(counts)}; {report.made}")
    return 0


@data.command("drr")
@_verb
def data_drr(
    source: Annotated[str, typer.Argument(help="A CT, or a folder with surfaces in left/, right/ and sacrum/.")],
    output: Annotated[str, typer.Option("--output", "-o", help="New folder or URL.")],
    mask: Annotated[str | None, typer.Option(help="The CT's label image.")] = None,
    labels: Annotated[str | None, typer.Option(help="The values of it that count, such as 10,11,12.")] = None,
    count: Annotated[int, typer.Option(min=1, help="X-rays per CT or pelvis.")] = 1,
    size: Annotated[int, typer.Option(help="Pixels of the longer side.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of pose, beam, tissue and noise.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Compute simulated X-rays with exact masks from a CT or from surfaces of bones.

    Example: `radseg data drr ct.nii.gz --mask lobes.nii.gz --labels 10,11,12,13,14 -o simulated`
    """
    from radseg.pipelines.radiographs import make_radiographs

    values = numbers("--labels", labels)
    made = make_radiographs(
        source, output, mask=mask, labels=values, count=count, size=size, seed=seed, device=device, progress=not quiet
    )
    if not quiet:
        counts = ", ".join(f"{count} {split}" for split, count in made.items.items())
        print(f"simulated X-rays in {made.folder}: {counts}; the masks cover {made.mask}")
        if 0 in made.items.values():
            print("note: fewer than three patients can't be split, all of them train; validation needs others")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _quieten(verbose: bool) -> None:
    """Keeps the libraries' warnings and logs from the user unless they were asked for."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("radseg").setLevel(logging.DEBUG if verbose else logging.WARNING)
    logging.getLogger("ignite").setLevel(logging.WARNING if verbose else logging.CRITICAL)
    for library in ("matplotlib", "PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.WARNING if verbose else logging.ERROR)
    if not verbose:
        warnings.simplefilter("ignore")


def main() -> None:
    """Entry point of the command `radseg`."""
    app()
