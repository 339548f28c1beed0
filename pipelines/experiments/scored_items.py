"""Which item of a fold's datalist each scored case was, and so which patient's."""

from pathlib import Path

from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments.results import Results, Run
from radseg.pipelines.experiments.scores import Case, rows_by_case


def scored_items(run: Run, label: str, output_dir: Path) -> dict[Case, int]:
    """Where each case of a run stands in the list `test` of its fold's datalist: cases are scored in that order.

    Args:
        run: whose cases are asked for.
        label: any that was scored.
        output_dir: the experiment's folder, with `folds/fold_<K>.json`.

    Returns:
        Empty if the datalist isn't there or holds another number of cases.
    """
    rows = rows_by_case(run, label)
    return {case: place for place, (case, _) in enumerate(rows)} if len(rows) == len(_test(run, output_dir)) else {}


def patients_of(results: Results, output_dir: Path) -> dict[Case, str]:
    """The patient of each scored case, as far as the folds' datalists name one."""
    found = {}
    for run in (run for variant in results.variants for run in variant.runs if run.done):
        items = _test(run, output_dir)
        for label in results.labels[:1]:
            for case, place in scored_items(run, label, output_dir).items():
                if "patient" in items[place]:
                    found[case] = str(items[place]["patient"])
    return found


def _test(run: Run, output_dir: Path) -> list[dict[str, object]]:
    try:
        test = read_json(output_dir / "folds" / f"fold_{run.fold}.json").get("test", [])
    except (OSError, ConfigError):
        return []
    return [item if isinstance(item, dict) else {} for item in test]
