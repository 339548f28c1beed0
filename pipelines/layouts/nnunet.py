"""nnU-Net v2 raw: `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz`, `dataset.json`; labels are left as they are."""

from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.folders import require, without
from radseg.pipelines.layouts.item import Found, Item
from radseg.pipelines.layouts.tables import read_dataset_json, section


def items(source: Path) -> Found:
    """The labelled cases, a patient each.

    Args:
        source: a data set's folder, such as `Dataset009_Spleen`.

    Raises:
        InputError: `dataset.json` or a folder is missing or malformed, the cases have several channels, or none has a
            label.
    """
    require(source, "dataset.json", "imagesTr", "labelsTr")
    file = source / "dataset.json"
    content = read_dataset_json(file)
    channels = section(content, "channel_names" if "channel_names" in content else "modality", dict, file)
    if len(channels) > 1:
        several = ", ".join(str(name) for name in channels.values())
        raise InputError(f"{file}: cases have {len(channels)} channels ({several}); only cases of one are taken")
    ending = content.get("file_ending", ".nii.gz")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise InputError(f"{file}: file_ending {ending!r} isn't a suffix such as '.nii.gz'; correct it")
    images = {
        path.name.removesuffix(f"_0000{ending}"): path
        for path in sorted((source / "imagesTr").glob(f"*_0000{ending}"))
        if not path.name.startswith(".")
    }
    further = sorted((source / "imagesTr").glob(f"*_0001{ending}"))
    if further:
        raise InputError(f"{further[0]}: a second channel; only cases of one are taken")
    labels = {
        path.name.removesuffix(ending): path
        for path in sorted((source / "labelsTr").glob(f"*{ending}"))
        if not path.name.startswith(".")
    }
    found = tuple(Item(case, images[case], labels[case], case) for case in sorted(images) if case in labels)
    if not found:
        raise InputError(f"{source}: no CASE_0000{ending} in imagesTr with CASE{ending} in labelsTr; check file_ending")
    warnings = (
        *without("images", "label", [images[case].name for case in sorted(images) if case not in labels]),
        *without("labels", "image", [labels[case].name for case in sorted(labels) if case not in images]),
    )
    tests = [path for path in (source / "imagesTs").glob(f"*{ending}") if not path.name.startswith(".")]
    if tests:
        warnings = (*warnings, f"{len(tests)} images in imagesTs belong to nnU-Net's test set; left out")
    return Found(found, warnings, _names(section(content, "labels", dict, file)))


def _names(labels: dict[str, object]) -> dict[str, str]:
    """Names by value; nnU-Net writes the names first, and a region as the list of its values."""
    return {
        ",".join(map(str, value)) if isinstance(value, list) else str(value): str(name)
        for name, value in labels.items()
    }
