"""Reads a datalist in MONAI's (Medical Segmentation Decathlon's) form into items with absolute paths."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import radseg.sample_data
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.store.local_copy import local_copies, local_copy, urls_in_errors
from radseg.pipelines.io.store.url import child, is_url

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

    Of what is at a URL, the items name local copies.

    Args:
        datalist: JSON file (or its URL) with lists `training`, `validation` and `test` of {"image", "label",
            "patient", "fold"}; each item gets "simulated": True if the list says so at its top.
        dataset_dir: folder or URL that relative paths start from.
        split: one of `training`, `validation`, `test`.
        fold: with a number, validation is that fold and training all the others, from both lists; without, the
            lists are taken as they stand.

    Raises:
        InputError: the file is missing or malformed, the split is empty, or an item names a file that isn't there.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r} is unknown; there are {', '.join(SPLITS)}")
    with urls_in_errors():
        file = local_copy(datalist)
        content = _content(file)
        items = _of_split(content, split, fold)
        if not items:
            held = [name for name in SPLITS if content[name]]
            where = f"{split!r}" if fold is None else f"{split!r} of fold {fold}"
            remedy = "add some, or split the data anew with `radseg data import`"
            raise InputError(f"{file}: no item in {where}; it holds {', '.join(held) or 'none'}: {remedy}")
        return _fetched([_absolute(item, dataset_dir, file) for item in items])


def read_splits(datalist: Path | str, dataset_dir: Path | str) -> dict[str, list[dict[str, Any]]]:
    """All splits of a datalist, those that it hasn't got empty; see `read_datalist`."""
    return {split: _fetched(items) for split, items in _splits(datalist, dataset_dir).items()}


def images_of(datalist: Path | str, dataset_dir: Path | str) -> list[str]:
    """Paths or URLs of all images in a datalist, whatever their split, each once."""
    splits = _splits(datalist, dataset_dir)
    return list(dict.fromkeys(item["image"] for items in splits.values() for item in items))


def check_labels(source: object, label: npt.ArrayLike, labels: int) -> None:
    """Refuses a label map with values that a bundle of so many labels doesn't know.

    Raises:
        InputError: names the file and the value.
    """
    for value in (int(np.min(label)), int(np.max(label))):
        if not 0 <= value <= labels:
            raise InputError(f"{source}: holds label {value}, the bundle knows 0 to {labels}; relabel it")


def _splits(datalist: Path | str, dataset_dir: Path | str) -> dict[str, list[dict[str, Any]]]:
    with urls_in_errors():
        file = local_copy(datalist)
        content = _content(file)
        return {split: [_absolute(item, dataset_dir, file) for item in content[split]] for split in SPLITS}


def _fetched(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items with local copies of what they name by URL."""
    places = [(item, key) for item in items for key in ("image", "label") if is_url(item.get(key))]
    for (item, key), copy in zip(places, local_copies([item[key] for item, key in places]), strict=True):
        item[key] = str(copy)
    return items


def _content(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise InputError(
            f"{file}: no such datalist; radseg data import writes one for a folder of images and labels"
        ) from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a JSON datalist ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name, []), list) for name in SPLITS):
        raise InputError(f"{file}: a datalist is an object with the lists {', '.join(SPLITS)}")
    simulated = {"simulated": True} if content.get("simulated") else {}
    # the decathlon's test list holds bare paths
    items = {
        name: [{"image": one} if isinstance(one, str) else one for one in content.get(name, [])] for name in SPLITS
    }
    return {name: [one | simulated if isinstance(one, dict) else one for one in items[name]] for name in SPLITS}


def _of_split(content: dict[str, list[dict[str, Any]]], split: str, fold: int | None) -> list[dict[str, Any]]:
    if fold is None or split == "test":
        return content[split]
    both = [*content["training"], *content["validation"]]
    return [item for item in both if (item.get("fold") == fold) == (split == "validation")]


def _absolute(item: dict[str, Any], base: Path | str, datalist: Path) -> dict[str, Any]:
    if not isinstance(item, dict) or "image" not in item:
        raise InputError(f"{datalist}: each item needs an 'image'; found {str(item)[:80]}")
    absolute = dict(item)
    for key in ("image", "label"):
        if key not in item:
            continue
        path = child(base, str(item[key]))
        if isinstance(path, Path) and not path.exists():
            raise InputError(f"{datalist}: {key} {path} doesn't exist; correct the datalist or --dataset_dir")
        absolute[key] = str(path)
    return absolute
