"""The verbs `experiment cross-validate`, `ablate` and `compare`: a bundle, or its variants, on folds of a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radseg.pipelines.experiments.conduct import Options, conduct
from radseg.pipelines.experiments.results import Results

__all__ = ["Options", "ablate", "compare", "cross_validate"]

_AS_IT_IS = Options()


def cross_validate(bundle: str | Path, options: Options = _AS_IT_IS, **overrides: Any) -> Results:
    """Trains and tests a bundle on folds of a dataset, each case tested once by a network that never saw it.

    `OUT/<bundle>/fold_<K>/model.pt` are the networks; `radseg segment --weights OUT/<bundle> --folds 0,1,2` averages
    them. Started again, it goes on where it was.

    Args:
        bundle: name or folder.
        options: dataset, folder of the results, folds and the like.
        **overrides: config keys and values, given to train.json and evaluate.json where they have the key.

    Returns:
        What `results.json` holds; runs that failed are in it with their reasons.

    Raises:
        ConfigError: an option or override can't be used, or the folder holds another experiment.
        InputError: the datalist can't be used, or has too few patients.
    """
    return conduct("cross_validate", bundle, options, overrides)


def ablate(
    bundle: str | Path, options: Options = _AS_IT_IS, *, variants: Sequence[str] | None = None, **overrides: Any
) -> Results:
    """Trains and tests a bundle without one of its parts at a time, as its experiments.json plans, on the same folds.

    Args:
        bundle: name or folder.
        options: dataset, folder of the results, folds and the like.
        variants: names of those to run, the baseline always among them; all when not given.
        **overrides: as of `cross_validate`, for all variants.

    Returns:
        What `results.json` holds.

    Raises:
        ConfigError: as of `cross_validate`; the bundle plans no ablation, or a variant isn't in it.
        InputError: as of `cross_validate`.
    """
    return conduct("ablate", bundle, options, overrides, variants)


def compare(
    bundle: str | Path, options: Options = _AS_IT_IS, *, variants: Sequence[str] | None = None, **overrides: Any
) -> Results:
    """Trains and tests a bundle's network and its opponents, as its experiments.json plans, on the same folds.

    Arguments, result and errors are those of `ablate`.
    """
    return conduct("compare", bundle, options, overrides, variants)
