"""COVID-19 Radiography Database: a folder a class (`COVID`, `Normal`, …), in each `images/*.png`, `masks/*.png`."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.folders import images_by_stem, pair, require
from radseg.pipelines.layouts.item import Found, Item

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")


def items(source: Path, *, classes: str | Sequence[str] = ("COVID",)) -> Found:
    """Chest X-rays (299×299) with lung masks (256×256).

    Args:
        source: the folder that holds the class folders and `*.metadata.xlsx`.
        classes: which to take; as text, separated by commas.

    Raises:
        InputError: an unknown class, a missing folder, or no image with a mask.
    """
    chosen = [one.strip() for one in classes.split(",")] if isinstance(classes, str) else list(classes)
    for one in chosen:
        if one not in CLASSES:
            by_small = {known.casefold(): known for known in CLASSES}
            close = difflib.get_close_matches(one.casefold(), by_small, n=1)
            remedy = f"did you mean {by_small[close[0]]!r}?" if close else f"there are {', '.join(CLASSES)}"
            raise InputError(f"class {one!r} is unknown; {remedy}")
    require(source, *(f"{one}/{part}" for one in chosen for part in ("images", "masks")))
    found: list[Item] = []
    warnings: list[str] = []
    for one in dict.fromkeys(chosen):
        folder = source / one
        pairs, alone = pair(images_by_stem(folder / "images"), images_by_stem(folder / "masks"), folder)
        found += [Item(Path(stem).name, image, mask, f"{one}/{stem}") for stem, image, mask in pairs]
        warnings += alone
    warnings.append(
        "the data set names no patients: each image counts as a patient of its own, "
        "so X-rays of one patient may lie in training and test"
    )
    return Found(tuple(found), tuple(warnings), {"0": "background", "1": "lung"})
