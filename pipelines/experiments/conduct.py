"""Conducts an experiment: every variant on every fold, results and their page written after each run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import find_bundle, load_workflow, read_json, top_key
from radseg.pipelines.datalist import read_splits, sample_data
from radseg.pipelines.engine import pick_device
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments.child import run_in_child
from radseg.pipelines.experiments.folds import Folds, write_folds
from radseg.pipelines.experiments.identity import (
    check_identity,
    configs_sha256,
    dataset_sha256,
    held_alone,
    recorded,
    weights_of,
    write_identity,
)
from radseg.pipelines.experiments.model_card import markdown
from radseg.pipelines.experiments.origins import last_of
from radseg.pipelines.experiments.page import write_page
from radseg.pipelines.experiments.plan import Plan, overrides_for, read_plan, slug
from radseg.pipelines.experiments.results import Dataset, Results, Variant, write_results
from radseg.pipelines.experiments.runs import Job, Record, read_run
from radseg.pipelines.experiments.worst_cases import save_worst_cases
from radseg.pipelines.io.store.url import absolute, child, is_remote
from radseg.pipelines.item_files import refuse_unreadable
from radseg.pipelines.progress_lines import tell
from radseg.pipelines.report.atomic import write_whole

_OURS = ("bundle_root", "fold", "folds", "split", "resume", "overwrite", "progress")
_CARD = "tables.md"
_AT_THE_END = 1_000_000  # epochs between validations: more than there are, so that only the last is validated


@dataclass(frozen=True)
class Options:
    """How an experiment is conducted, whichever it is.

    Attributes:
        dataset_dir: folder or URL of the images; the sample data when not given.
        datalist: file or URL; `dataset_dir/datalist.json` when not given.
        output_dir: folder of the results; `runs/<bundle>/<experiment>` when not given.
        folds: how many, see `write_folds`; 1 is the datalist's own training, validation and test.
        by: `patient` or `image`.
        choose: the weights that a run keeps: those of the best epoch on the `validation` fold, or of the `last` epoch.
        only: the folds to run now; all when not given.
        seed: of folds and training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        progress: say what is being done.
        trust_config: allow a bundle folder that isn't radseg's own.
    """

    dataset_dir: str | Path | None = None
    datalist: str | Path | None = None
    output_dir: str | Path | None = None
    folds: int = 5
    by: str = "patient"
    choose: str = "validation"
    only: Sequence[int] | None = None
    seed: int = 0
    device: str = "auto"
    progress: bool = True
    trust_config: bool = False


@dataclass(frozen=True)
class _Experiment:
    """All that is known before the first run."""

    kind: str
    root: Path
    plan: Plan
    options: Options
    overrides: Mapping[str, Any]
    output_dir: Path
    dataset_dir: str
    folds: Folds
    dataset_sha256: str
    selected: Sequence[str]


def conduct(
    kind: str,
    bundle: str | Path,
    options: Options,
    overrides: Mapping[str, Any],
    variants: Sequence[str] | None = None,
) -> Results:
    """Runs every variant of a plan on every fold and writes `results.json`, `results.csv`, `tables.md`
    and the page after each.

    What is done already isn't run again; a run that failed is tried again. One that fails is recorded with its reason,
    and the others go on. Several calls, each with folds of its own (`only`), may work in one folder at the same time.

    Args:
        kind: `cross_validate`, `ablate` or `compare`.
        bundle: name or folder.
        options: see there.
        overrides: config ids and values for all variants, each given to the configs that have its key.
        variants: names of those to run, the baseline always among them; all when not given.

    Raises:
        ConfigError: a plan, option, device, variant or override can't be used, or the folder holds another experiment.
        InputError: the datalist can't be used, or has too few patients.
    """
    root = find_bundle(bundle, options.trust_config)
    plan = read_plan(bundle, kind, options.trust_config)
    overrides = {**plan.overrides, **overrides}
    chosen = plan if variants is None else plan.only(variants)
    _check_overrides(root, chosen, options, overrides)
    pick_device(options.device)
    dataset_dir = absolute(sample_data(root.name) if options.dataset_dir is None else options.dataset_dir)
    datalist = child(dataset_dir, "datalist.json") if options.datalist is None else options.datalist
    name = kind.replace("_", "-")
    output = Path("runs") / root.name / name if options.output_dir is None else options.output_dir
    if is_remote(output):
        raise ConfigError(f"{output}: an experiment's results are written to a local folder; choose one with --output")
    output_dir = Path(output).absolute()
    numbers = _folds_to_run(options)
    dataset = dataset_sha256(datalist, dataset_dir, options.progress)
    settings = {
        "experiment": name,
        "bundle": root.name,
        "configs": configs_sha256(root),
        "dataset": dataset,
        "folds": options.folds,
        "by": options.by,
        "choose": options.choose,
        "seed": options.seed,
        "overrides": recorded(overrides, options.folds),
    }
    with held_alone(output_dir, wait=True):
        identity = check_identity(output_dir, settings, chosen.variants)
        refuse_unreadable(item for items in read_splits(datalist, dataset_dir).values() for item in items)
        folds = write_folds(datalist, dataset_dir, output_dir, options.folds, options.by, options.seed, options.choose)
        write_identity(output_dir, identity)
    experiment = _Experiment(
        name, root, plan, options, overrides, output_dir, dataset_dir, folds, dataset, tuple(chosen.variants)
    )
    # fold by fold, so that a stopped experiment has whole comparisons
    for number in numbers:
        for variant in chosen.variants:
            if _run_once(_job(experiment, variant, number)):
                with held_alone(output_dir, wait=True):
                    _publish(_gathered(experiment), output_dir)
    with held_alone(output_dir, wait=True):
        results = _gathered(experiment)
        of_baseline = [_job(experiment, plan.baseline, number) for number in range(options.folds)]
        save_worst_cases(results, output_dir, of_baseline)
        _publish(results, output_dir)
    tell(f"results and page: {output_dir / 'index.html'}", options.progress)
    return results


def _run_once(job: Job) -> bool:
    """Runs a job that isn't done yet; whether it was run."""
    with held_alone(job.place) as held_files:
        earlier = read_run(job.place)
        if earlier is not None and earlier.run.done:
            return False
        tell(f"{job.variant}, fold {job.fold}: started", job.progress)
        run_in_child(job, held_files)
        tell(_outcome(job.variant, read_run(job.place)), job.progress)
    return True


def _check_overrides(root: Path, plan: Plan, options: Options, overrides: Mapping[str, Any]) -> None:
    """Refuses, before anything is written, what a config doesn't know or what the experiment itself sets."""
    for key in overrides:
        if top_key(key) in _OURS:
            raise ConfigError(f"--{key} is set by the experiment for each run; leave it out")
    overrides = {**overrides, **_forced(options)}
    for config in ("train", "evaluate"):
        load_workflow(root, config, overrides_for(config, root, overrides), options.trust_config)
        for variant in plan.variants.values():  # the bundle's own, trusted as its configs are
            load_workflow(root, config, overrides_for(config, root, {**overrides, **variant}), trust_config=True)


def _forced(options: Options) -> dict[str, Any]:
    """Overrides that an option stands for."""
    return {"val_interval": _AT_THE_END} if options.choose == "last" else {}


def _folds_to_run(options: Options) -> list[int]:
    if options.only is None:
        return list(range(options.folds))
    for number in options.only:
        if not 0 <= number < options.folds:
            raise ConfigError(f"--only {number}: there are folds 0 to {options.folds - 1}")
    return sorted(set(options.only))


def _job(experiment: _Experiment, variant: str, fold: int) -> Job:
    """The run of one variant on one fold."""
    changes = {
        "seed": experiment.options.seed,
        "device": experiment.options.device,
        **experiment.overrides,
        **experiment.plan.variants[variant],
    }
    changes |= _forced(experiment.options)
    if changes.get("weights") is not None:
        changes["weights"] = weights_of(changes["weights"], fold)
    return Job(
        bundle=str(experiment.root),
        variant=variant,
        fold=fold,
        folder=str(_folder(experiment, variant, fold)),
        datalist=str(experiment.folds.files[fold]),
        dataset_dir=experiment.dataset_dir,
        train=overrides_for("train", experiment.root, changes),
        evaluate=overrides_for("evaluate", experiment.root, changes),
        progress=experiment.options.progress,
    )


def _folder(experiment: _Experiment, variant: str, fold: int) -> Path:
    return experiment.output_dir / slug(variant) / f"fold_{fold}"


def _gathered(experiment: _Experiment) -> Results:
    """What all runs in the folder found so far, those of earlier starts included."""
    folds, options = experiment.folds, experiment.options
    variants = []
    for name, overrides in experiment.plan.variants.items():
        found = [read_run(_folder(experiment, name, number)) for number in range(options.folds)]
        records = [record for record in found if record is not None]
        if records or name in experiment.selected:
            parameters = next((one.parameters for one in records if one.parameters is not None), None)
            total = next((one.total_parameters for one in records if one.total_parameters is not None), None)
            variants.append(Variant(name, overrides, parameters, tuple(record.run for record in records), total))
    rows = (row for variant in variants for run in variant.runs for row in run.rows)
    return Results(
        experiment=experiment.kind,
        bundle=experiment.root.name,
        version=read_json(configs(experiment.root) / "metadata.json")["version"],
        **last_of([run for variant in variants for run in variant.runs]),
        dataset=Dataset(
            sha256=experiment.dataset_sha256,
            cases=folds.cases,
            patients=folds.patients,
            simulated=folds.simulated,
            by=folds.by,
            folds=options.folds,
            leak=folds.leak,
            said=folds.said,
        ),
        seed=options.seed,
        overrides=recorded(experiment.overrides, options.folds),
        baseline=experiment.plan.baseline,
        labels=tuple(dict.fromkeys(row.label for row in rows)),
        paper=experiment.plan.paper,
        variants=tuple(variants),
    )


def _publish(results: Results, output_dir: Path) -> None:
    write_results(results, output_dir)
    try:
        write_page(results, output_dir)
        write_whole(output_dir / _CARD, [markdown(results, output_dir)])
    except OSError as error:
        raise ConfigError(f"{output_dir}: can't be written ({error.strerror}); free space and run again") from error


def _outcome(variant: str, record: Record | None) -> str:
    if record is None:
        return f"{variant}: left no record"
    run = record.run
    if not run.done:
        return f"{variant}, fold {run.fold}: failed: {run.error}"
    dice = {}
    for label in dict.fromkeys(row.label for row in run.rows):
        values = [row.metrics["dice"] for row in run.rows if row.label == label]
        dice[label] = statistics.fmean(value for value in values if value is not None)
    scores = ", ".join(f"{label} dice {value:.4f}" for label, value in dice.items())
    return f"{variant}, fold {run.fold}: {scores}; {sum(run.seconds.values()):.0f} s"
