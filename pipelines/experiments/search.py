"""The verb `experiment search`: trainings with other settings, each chosen by what the ones before it gave."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import find_bundle, load_workflow, read_json
from radseg.pipelines.datalist import read_datalist
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments.cells import setting
from radseg.pipelines.experiments.identity import (
    check_identity,
    configs_sha256,
    dataset_sha256,
    held_alone,
    recorded,
    write_identity,
)
from radseg.pipelines.experiments.machine import origin_here
from radseg.pipelines.experiments.origins import last_of
from radseg.pipelines.experiments.results import Origin
from radseg.pipelines.experiments.search_page import write_search_page
from radseg.pipelines.experiments.search_results import Search, Searched, Trial, write_search
from radseg.pipelines.experiments.search_space import SearchSpace, read_search_space
from radseg.pipelines.io.store.url import is_remote
from radseg.pipelines.progress_lines import tell
from radseg.pipelines.train import train

_GIVE_UP_AFTER = 3  # trials that failed, before any went well: it isn't the searched settings
_NOT_FOR_A_SEARCH = ("resume", "overwrite")


def search(
    bundle: str | Path,
    *,
    output_dir: str | Path | None = None,
    trials: int = 20,
    startup_trials: int = 5,
    warmup_epochs: int = 5,
    trust_config: bool = False,
    run: Callable[..., Any] = train,
    **overrides: Any,
) -> Search:
    """Searches the settings that a bundle's experiments.json names, by the validation metric that it names.

    A tree-structured Parzen estimator suggests settings (Bergstra et al., Algorithms for Hyper-Parameter Optimization,
    NeurIPS 2011; Optuna, Akiba et al., KDD 2019). A trial is stopped when its best epoch is worse than the median of
    the finished trials at that epoch (Golovin et al., Google Vizier, KDD 2017, section 3.2.2). It is judged by its best
    epoch on the validation split; the test split is never looked at. With the same seed, data and machine the trials
    are the same, interrupted or not: called again, a search goes on where it was, in the middle of a trial too.

    Leaves in `output_dir`: `search.json`, `search.csv`, the page `index.html`, the storage `search.sqlite` and a folder
    for each trial.

    Args:
        bundle: name or folder.
        output_dir: folder of the search; `runs/<bundle>/search` when not given.
        trials: how many there shall be in all, those of earlier calls included.
        startup_trials: how many are trained to their end before one may be pruned.
        warmup_epochs: the first epoch after which a trial may be pruned.
        trust_config: allow a bundle folder that isn't radseg's own.
        run: the verb that trains.
        **overrides: config keys and values of all trials; a searched key that gets a value here is searched no more.

    Raises:
        RadsegError: plan, overrides, data or folder can't be used, another search runs or ran in the folder, or the
            first trials all failed.
    """
    if find_spec("optuna") is None:
        raise ConfigError("a search needs Optuna; pip install 'radseg[search]'")
    import optuna

    from radseg.pipelines.experiments.search_storage import ask, opened
    from radseg.pipelines.experiments.search_trial import run_trial, trial_folder, trials_of

    _check_numbers(trials=(trials, 1), startup_trials=(startup_trials, 0), warmup_epochs=(warmup_epochs, 0))
    for key in _NOT_FOR_A_SEARCH:
        if key in overrides:
            raise ConfigError(
                f"--{key} isn't for a search, which always goes on; choose another --output to begin anew"
            )
    root = find_bundle(bundle, trust_config)
    folder = Path("runs") / root.name / "search" if output_dir is None else output_dir
    if is_remote(folder):
        raise ConfigError(f"{folder}: a search is written to a local folder; choose one with --output")
    folder = Path(folder).absolute()
    space = read_search_space(bundle, trust_config).without(overrides)
    progress = bool(overrides.get("progress", True))
    blank, origin = _blank(str(bundle), root, trust_config, space, overrides, folder)
    blank = replace(blank, wanted=trials)
    tell(f"searching by {blank.judged_by}", progress)
    settings = {
        "experiment": "search",
        "bundle": root.name,
        "configs": configs_sha256(root),
        "dataset": blank.dataset.sha256,
        "metric": space.metric,
        "parameters": blank.parameters,
        "pruning": [startup_trials, warmup_epochs],
        "seed": blank.seed,
        "overrides": recorded(overrides),
    }
    with held_alone(folder):
        write_identity(folder, check_identity(folder, settings, {}))
        with opened(folder, space.direction) as study:
            study.pruner = optuna.pruners.MedianPruner(startup_trials, warmup_epochs)
            found = _found(blank, space, trials_of(study))
            while len(found.trials) < trials:
                trial = ask(study, blank.seed)
                values = space.suggest(trial)

                def train_with(**options: Any) -> Any:
                    return run(bundle, trust_config=trust_config, **{**overrides, **options})

                run_trial(study, trial, space, values, folder / trial_folder(len(found.trials)), train_with, origin)
                found = _found(blank, space, trials_of(study))
                _publish(found, folder)
                tell(_line(found, trials), progress)
                _check_worth_going_on(found)
    _publish(found, folder)
    tell(f"results and page: {folder / 'index.html'}", progress)
    return found


def _publish(found: Search, folder: Path) -> None:
    write_search(found, folder)
    try:
        write_search_page(found, folder)
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written ({error.strerror}); free space and run again") from error


def _check_worth_going_on(found: Search) -> None:
    failed = [one for one in found.trials if one.status == "failed"]
    if len(failed) == len(found.trials) >= _GIVE_UP_AFTER:
        raise ConfigError(f"all {len(failed)} trials failed; the last: {failed[-1].error}")


def _check_numbers(**numbers: tuple[int, int]) -> None:
    for name, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} is {value!r}; give a whole number from {least} up")


def _blank(
    bundle: str, root: Path, trust_config: bool, space: SearchSpace, overrides: Mapping[str, Any], folder: Path
) -> tuple[Search, Origin]:
    """The search before its first trial, and where it runs; what is wrong with plan, overrides or data is said here."""
    examples = space.overrides({one.name: one.example for one in space.parameters})
    changes = {**overrides, **examples, "output_dir": str(folder)}
    parser = load_workflow(bundle, "train", changes, trust_config).parser
    datalist, dataset_dir = (parser.get_parsed_content(key) for key in ("datalist", "dataset_dir"))
    fold = parser.config.get("fold")
    training, validation = (read_datalist(datalist, dataset_dir, split, fold) for split in ("training", "validation"))
    blank = Search(
        bundle=bundle,
        version=str(read_json(configs(root) / "metadata.json")["version"]),
        commit=None,
        date=None,
        machine=None,
        dataset=Searched(
            sha256=dataset_sha256(datalist, dataset_dir, bool(overrides.get("progress", True))),
            training=len(training),
            validation=len(validation),
            simulated=any(item.get("simulated") for item in validation),
        ),
        metric=space.metric,
        direction=space.direction,
        parameters={one.name: asdict(one) for one in space.parameters},
        seed=int(parser.get_parsed_content("seed")),
        overrides=dict(overrides),
        trials=(),
        best=None,
        best_overrides={},
        key_metric=_key_metric(parser.config),
        output_dir=folder,
        trust_config=trust_config,
    )
    return blank, origin_here(str(parser.get_parsed_content("device")))


def _key_metric(config: Mapping[str, Any]) -> str | None:
    """The metric that a training of the bundle chooses its weights by: the first of its validation's key metrics."""
    validate = config.get("validate")
    metrics = validate.get("key_metric") if isinstance(validate, Mapping) else None
    return next(iter(metrics), None) if isinstance(metrics, Mapping) else None


def _found(blank: Search, space: SearchSpace, trials: tuple[Trial, ...]) -> Search:
    """The search with the trials that have ended."""
    done = [(one.value, -one.number, one) for one in trials if one.status == "done" and one.value is not None]
    sign = 1 if space.direction == "maximize" else -1
    best = max(done, key=lambda entry: (sign * entry[0], entry[1]))[2] if done else None
    return replace(
        blank,
        **last_of(trials),
        trials=trials,
        best=best,
        best_overrides={} if best is None else space.overrides(best.values),
    )


def _line(found: Search, trials: int) -> str:
    last = found.trials[-1]
    values = ", ".join(f"{name} {setting(one)}" for name, one in last.values.items())
    gave = last.error if last.status == "failed" else f"{found.metric} {last.value:.4f} in epoch {last.best_epoch}"
    best = f"; best {found.best.value:.4f}, trial {found.best.number}" if found.best else ""
    return f"trial {last.number} ({len(found.trials)} of {trials}), {last.status}: {values}: {gave}{best}"
