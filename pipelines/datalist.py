"""Reads a datalist in MONAI's (Medical Segmentation Decathlon's) form into items with absolute paths."""

import json
from pathlib import Path
from typing import Any

import radseg.sample_data
from radseg.pipelines.errors import InputError

SPLITS = ("training", "validation", "test")


def sample_data(bundle: str) -> str:
    """Folder of the sample data for `bundle`: the checkout's, else `sample_data/` under the current directory.

    Raises:
        InputError: there is neither.
    """
    for base in (Path(radseg.sample_data.__file__).parent, Path("sample_data")):
        if (base / bundle / "datalist.json").is_file():
            return str((base / bundle).resolve())
    raise InputError(
        f"no dataset_dir was given and there is no sample data for {bundle} here: "
        f"`radseg data sample` makes it, or pass --dataset_dir DIR"
    )


def read_datalist(
    datalist: Path | str, dataset_dir: Path | str, split: str, fold: int | None = None
) -> list[dict[str, Any]]:
    """Items of one split, their image and label paths made absolute below `dataset_dir`.

    Args:
        datalist: JSON file with lists `training`, `validation` and `test` of {"image", "label", "patient", "fold"}.
        dataset_dir: folder that relative paths start from.
        split: one of `training`, `validation`, `test`.
        fold: with a number, validation is that fold and training all the others, from both lists; without, the
            lists are taken as they stand.

    Raises:
        InputError: the file is missing or malformed, the split is empty, or an item names a file that isn't there.
    """
    file = Path(datalist)
    if split not in SPLITS:
        raise InputError(f"split {split!r} is unknown; there are {', '.join(SPLITS)}")
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such datalist; `radseg data import` writes one") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a JSON datalist ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: a datalist is an object with the lists {', '.join(SPLITS)}")
    items = _of_split(content, split, fold)
    if not items:
        held = [name for name in SPLITS if content.get(name)]
        where = f"{split!r}" if fold is None else f"{split!r} of fold {fold}"
        raise InputError(f"{file}: no item in {where}; it holds {', '.join(held) or 'none'}")
    return [_absolute(item, Path(dataset_dir), file) for item in items]


def _of_split(content: dict[str, Any], split: str, fold: int | None) -> list[dict[str, Any]]:
    if fold is None or split == "test":
        return list(content.get(split, []))
    both = [*content.get("training", []), *content.get("validation", [])]
    return [item for item in both if (item.get("fold") == fold) == (split == "validation")]


def _absolute(item: dict[str, Any], base: Path, datalist: Path) -> dict[str, Any]:
    if not isinstance(item, dict) or "image" not in item:
        raise InputError(f"{datalist}: each item needs an 'image'; found {str(item)[:80]}")
    absolute = dict(item)
    for key in ("image", "label"):
        if key not in item:
            continue
        path = base / str(item[key])
        if not path.exists():
            raise InputError(f"{datalist}: {key} {path} doesn't exist; correct the datalist or --dataset_dir")
        absolute[key] = str(path)
    return absolute
