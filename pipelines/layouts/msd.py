"""Medical Segmentation Decathlon: `dataset.json` lists images and labels; labels are left as they are."""

from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.folders import require, stem_of, without
from radseg.pipelines.layouts.item import Found, Item
from radseg.pipelines.layouts.tables import read_dataset_json, section


def items(source: Path) -> Found:
    """The labelled images of the list `training`, a patient each; the images of `test` have no labels.

    Args:
        source: a task's folder, such as `Task09_Spleen`.

    Raises:
        InputError: `dataset.json` is missing or malformed, the images have several channels, or none has a label.
    """
    require(source, "dataset.json")
    file = source / "dataset.json"
    content = read_dataset_json(file)
    channels = section(content, "modality", dict, file)
    if len(channels) > 1:
        several = ", ".join(str(name) for name in channels.values())
        raise InputError(f"{file}: images have {len(channels)} channels ({several}); only images of one are taken")
    found: list[Item] = []
    alone: list[str] = []
    for entry in section(content, "training", list, file):
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise InputError(f"{file}: each item of 'training' needs an 'image'; found {str(entry)[:80]}")
        image = source / entry["image"]
        if not image.is_file():
            raise InputError(f"{file}: image {entry['image']} isn't there; unpack the whole data set")
        label = entry.get("label")
        if isinstance(label, str) and (source / label).is_file():
            found.append(Item(stem_of(image), image, source / label, stem_of(image)))
        else:
            alone.append(image.name)
    if not found:
        raise InputError(f"{file}: lists no image with a label that is there; unpack the whole data set")
    unlabelled = len(section(content, "test", list, file))
    warnings = without("images", "label", alone)
    if unlabelled:
        warnings = (*warnings, f"{unlabelled} images of the test list have no labels; left out")
    labels = section(content, "labels", dict, file)
    return Found(tuple(found), warnings, {str(value): str(name) for value, name in labels.items()})
