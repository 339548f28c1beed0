"""Folds of a datalist: each case is tested once, by a network that neither learned from it nor was chosen by it."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radseg.pipelines.datalist import SPLITS, read_splits
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.experiments.cells import counted
from radseg.pipelines.io.store.local_copy import local_copy, urls_in_errors
from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.splits import fold_groups, split_groups

BY = ("patient", "image")
CHOOSE = ("validation", "last")
_VALIDATION = (80, 20)  # training and validation of two folds, where no third is left to validate
_LEAK = (
    "split by image: images of one patient may lie on both sides ({known}), a leak; "
    "results on this split don't hold for unseen patients"
)

Item = dict[str, Any]


@dataclass(frozen=True)
class Folds:
    """Datalists, one a fold, whose `test` is that fold.

    Attributes:
        files: `fold_0.json`, `fold_1.json`, ….
        by: `patient` or `image`.
        cases: items dealt out, without those that are in every training; all items where nothing was dealt.
        patients: patients that they name.
        simulated: whether a tested item is simulated.
        leak: whether images of one patient may lie on both sides.
        said: how the folds were made, and the warning that goes with a leak.
    """

    files: tuple[Path, ...]
    by: str
    cases: int
    patients: int
    simulated: bool
    leak: bool
    said: str


def write_folds(
    datalist: Path | str,
    dataset_dir: Path | str,
    output_dir: Path,
    folds: int = 5,
    by: str = "patient",
    seed: int = 0,
    choose: str = "validation",
) -> Folds:
    """Writes `output_dir/folds/fold_<K>.json`: test is fold K, validation fold K + 1, training the rest.

    Where the last epoch's weights are taken, nothing needs validating: training is all but fold K, and validation,
    which a training must have, is fold K too.

    Dealt out are the items of `training` and `validation`; those of `test` stay out, for a last score that nothing was
    chosen by. By patient, items that carry a "fold" keep it if the numbers fit `folds`. The items of patients marked
    "always_train" are in training only. Of two folds, a patient-wise fifth of the rest validates. With `folds` 1 the
    datalist's own three lists are taken as they stand.

    Args:
        datalist: in MONAI's form, see `radseg.pipelines.datalist`; file or URL.
        dataset_dir: folder or URL that its paths start from.
        output_dir: the experiment's folder.
        folds: how many.
        by: `patient` keeps a patient on one side; `image` deals single images, whoever they are of. The lung CT paper
            dealt slices too, but held out a fifth once, on which it scored all of its five trainings.
        seed: of the dealing.
        choose: which epoch's weights a run keeps, one of `CHOOSE`.

    Raises:
        InputError: the datalist can't be used, a patient or label is missing, or there are too few patients.
        ConfigError: unknown `by` or `choose`, no folds, or the folder can't be written.
    """
    if by not in BY:
        raise ConfigError(f"by {by!r} is unknown; there are {', '.join(BY)}")
    if choose not in CHOOSE:
        raise ConfigError(f"choose {choose!r} is unknown; there are {', '.join(CHOOSE)}")
    if folds < 1:
        raise ConfigError(f"{folds} folds: give at least 2, or 1 for the datalist's own training, validation and test")
    with urls_in_errors():
        content = _content(datalist, dataset_dir)
        pool = [item for split in SPLITS for item in content[split] if folds == 1 or split != "test"]
        _check(pool, datalist, by == "patient" and folds > 1)
    if folds == 1:
        lists, how = [{split: content[split] for split in SPLITS}], "the datalist's own training, validation and test"
        for split in SPLITS:
            if not content[split]:
                raise InputError(f"{datalist}: no item in {split!r}; ask for 2 folds or more, or split the data anew")
        if by == "image":
            raise ConfigError("1 fold is the datalist's own split: nothing is dealt by image; leave out --by")
        if choose == "last":
            how += "; each network is its last epoch's"
    else:
        lists, how = _dealt(pool, folds, by, seed, str(datalist), choose)
        if content["test"]:
            left_out = len(content["test"])
            how += f"; the {counted(left_out, 'item')} of the datalist's test list {_are(left_out)} left out"
    leak = _leak(lists, by, content)
    head = {key: value for key, value in content.items() if key not in (*SPLITS, "folds", "leak", "made", "split")}
    head |= {"split": by, "made": how, "folds": folds, "seed": seed} | ({"leak": leak} if leak else {})
    files = tuple(output_dir / "folds" / f"fold_{number}.json" for number in range(len(lists)))
    try:
        files[0].parent.mkdir(parents=True, exist_ok=True)
        for file, one in zip(files, lists, strict=True):
            write_whole(file, [json.dumps({**head, **one}, indent=1, ensure_ascii=False) + "\n"])
    except OSError as error:
        raise ConfigError(f"{output_dir}: can't be written ({error.strerror}); choose another --output") from error
    tested = [item for one in lists for item in one["test"]]
    scored = tested if folds > 1 else pool
    return Folds(
        files=files,
        by=by,
        cases=len(scored),
        patients=len({str(item["patient"]) for item in scored if "patient" in item}),
        simulated=bool(content.get("simulated")) or any(item.get("simulated") for item in tested),
        leak=leak is not None,
        said=f"{how}; {leak}" if leak else how,
    )


def _content(datalist: Path | str, dataset_dir: Path | str) -> dict[str, Any]:
    """A datalist with its three lists, the decathlon's bare paths as items."""
    read_splits(datalist, dataset_dir)  # says what is wrong with it and which files aren't there
    content: dict[str, Any] = json.loads(local_copy(datalist).read_text(encoding="utf-8"))
    for split in SPLITS:
        content[split] = [{"image": one} if isinstance(one, str) else one for one in content.get(split, [])]
    return content


def _check(pool: Sequence[Item], datalist: Path | str, needs_patient: bool) -> None:
    if not pool:
        raise InputError(f"{datalist}: no item in training or validation; add some with `radseg data import`")
    for item in pool:
        if "label" not in item:
            raise InputError(f"{datalist}: {item['image']} has no label; add it or take the item out")
        if needs_patient and "patient" not in item:
            raise InputError(
                f"{datalist}: {item['image']} names no patient; add it, or deal --by image, which may leak"
            )
        if not isinstance(item.get("fold", 0), int):
            raise InputError(f"{datalist}: fold {item['fold']!r} of {item['image']} is no whole number; correct it")


def _dealt(
    pool: Sequence[Item], folds: int, by: str, seed: int, datalist: str, choose: str
) -> tuple[list[dict[str, list[Item]]], str]:
    """The three lists of each fold, and how they were made."""
    helping = {item["patient"] for item in pool if item.get("always_train") and "patient" in item}
    always = [bool(item.get("always_train")) or item.get("patient") in helping for item in pool]
    names = [str(item["patient" if by == "patient" else "image"]) for item in pool]
    groups: dict[str, list[Item]] = defaultdict(list)
    for item, name, helps in zip(pool, names, always, strict=True):
        if not helps:
            groups[name].append(item)
    validates = choose == "validation"
    least = (3 if validates else 2) - any(always)  # each side of each fold needs one; helpers fill training
    if len(groups) < max(folds, least):
        raise InputError(_too_few(datalist, by, len(groups), folds, least))
    fold_of, how = _folds(groups, folds, by, seed)
    lists = []
    for number in range(folds):
        side = {group: _side(fold, number, folds, validates) for group, fold in fold_of.items()}
        if folds == 2 and validates:
            rest = {group: len(groups[group]) for group in groups if side[group] != "test"}
            if len(rest) == 1 and not any(always):
                raise InputError(f"{datalist}: 2 folds leave 1 {by} to train and validate with; ask for --folds 3")
            side |= _validating(rest, seed)
        one: dict[str, list[Item]] = {split: [] for split in SPLITS}
        for item, name, helps in zip(pool, names, always, strict=True):
            here = "training" if helps else side[name]
            one[here].append({key: value for key, value in item.items() if key != "fold"})
        if not validates:
            one["validation"] = one["test"]
        lists.append(one)
    if any(always):
        helpers = sum(always)
        how += f"; {counted(helpers, 'item')} marked always_train {_are(helpers)} in every training and never tested"
    if not validates:
        how += "; each network is its last epoch's, trained on all folds but the tested one"
    return lists, how


def _folds(groups: Mapping[str, Sequence[Item]], folds: int, by: str, seed: int) -> tuple[dict[str, int], str]:
    """The fold of each group: what its items carry if that fits, else dealt."""
    sizes = {group: len(items) for group, items in groups.items()}
    carried = {group: {item["fold"] for item in items if "fold" in item} for group, items in groups.items()}
    kept = {group: next(iter(numbers)) for group, numbers in carried.items() if len(numbers) == 1}
    free = [group for group in groups if not carried[group]]
    fits = (
        by == "patient"
        and bool(kept)
        and len(kept) + len(free) == len(groups)
        and all(0 <= fold < folds for fold in kept.values())
        and folds - len(set(kept.values())) <= len(free)
    )
    if not fits:
        return fold_groups(sizes, folds, seed), f"{folds} folds by {by}, seed {seed}"
    held = Counter(dict.fromkeys(range(folds), 0))
    for group, fold in kept.items():
        held[fold] += sizes[group]
    order = sorted(free, key=lambda group: (-sizes[group], hashlib.sha256(f"{seed}/{group}".encode()).digest()))
    for group in order:
        kept[group] = min(held, key=lambda fold: (held[fold], fold))
        held[kept[group]] += sizes[group]
    how = f"{folds} folds by patient, as the datalist gives them"
    return kept, how + (f"; patients that it gives none ({len(free)}) go to the smallest" if free else "")


def _side(fold: int, tested: int, folds: int, validates: bool) -> str:
    if fold == tested:
        return "test"
    return "validation" if validates and folds > 2 and fold == (tested + 1) % folds else "training"


def _validating(rest: Mapping[str, int], seed: int) -> dict[str, str]:
    """The side of each group of the rest of two folds."""
    if len(rest) == 1:
        return dict.fromkeys(rest, "validation")
    return {group: ("training", "validation")[side] for group, side in split_groups(rest, _VALIDATION, seed).items()}


def _too_few(datalist: str, by: str, count: int, folds: int, least: int) -> str:
    units = by if count == 1 else f"{by}s"
    if count < least:
        remedy = "add patients" + (", or deal --by image, which leaks" if by == "patient" else "")
        return f"{datalist}: {count} {units} to deal; training, validation and test need {least} at least: {remedy}"
    return f"{datalist}: {count} {units} can't fill {folds} folds; ask for at most --folds {count}"


def _leak(lists: Sequence[Mapping[str, Sequence[Item]]], by: str, content: Mapping[str, Any]) -> str | None:
    """The warning that goes with folds in which a patient is, or may be, on two sides."""
    leaking: set[str] = set()
    for one in lists:
        sides: dict[str, set[str]] = defaultdict(set)
        for split, items in one.items():
            for item in items:
                if "patient" in item and not (split == "validation" and items is one["test"]):
                    sides[str(item["patient"])].add(split)
        leaking |= {patient for patient, on in sides.items() if len(on) > 1}
    if by == "image":
        named = all("patient" in item for items in lists[0].values() for item in items)
        do = f"{counted(len(leaking), 'patient')} {'does' if len(leaking) == 1 else 'do'}"
        known = do if named else "the datalist doesn't name all patients"
        return _LEAK.format(known=known) if leaking or not named else None
    if leaking:
        who = f"{counted(len(leaking), 'patient')} {_are(len(leaking))}"
        return f"{who} on both sides of the datalist's own split: no result for unseen ones"
    return str(content["leak"]) if len(lists) == 1 and content.get("leak") else None


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
