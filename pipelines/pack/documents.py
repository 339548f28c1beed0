"""The papers of a pack: model card and requirements, made of the bundle's own and of what was packed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_HEADING = "## This folder"
_RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|mailto:|#)([^)]+)\)")
_BASE = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}


def requirements(about: Mapping[str, Any]) -> str:
    """The text of requirements.txt: radseg and what the bundle was made with, of the versions in its metadata."""
    pinned = {package: about[key] for package, key in _BASE.items() if key in about}
    pinned |= about.get("required_packages_version", {})
    return "".join(f"{package}=={version}\n" for package, version in sorted(pinned.items()))


def readme(card: str, name: str, about: Mapping[str, Any], foreign_weights: bool, exports: Sequence[str]) -> str:
    """The model card for docs/: links into radseg's sources become plain text, and the folder is explained at the end.

    Args:
        card: the bundle's own, or that of a pack.
        name: the bundle's name.
        about: the pack's metadata.
        foreign_weights: whether the weights are others than those that the card speaks of.
        exports: names of the exported networks below `models`.
    """
    own = card.partition(f"\n{_HEADING}\n")[0].rstrip()
    own = _RELATIVE_LINK.sub(lambda link: f"{link[1]} (`{link[2].removeprefix('../../')}` of radseg)", own)
    version = about["required_packages_version"]["radseg"]
    lines = [
        own,
        "",
        _HEADING,
        "",
        f"`{name}` as a MONAI bundle, packed by radseg {version}, which its configs need: "
        "`pip install -r requirements.txt`. Then (a config is code: run it if you trust where it came from):",
        "",
        "```",
        f"radseg segment ./{name} IMAGES -o masks --trust-config",
        f"python -m monai.bundle run inferring --config_file {name}/configs/inference.json --dataset_dir IMAGES",
        "```",
        "",
    ]
    digest = about.get("weights_sha256")
    if digest is None:
        lines += ["No weights are in it: give `--weights FILE`."]
    else:
        lines += [f"`models/model.pt` has the sha256 `{digest}`; it is checked before it is read."]
    if foreign_weights:
        lines += [
            "**These weights were given when the bundle was packed: what is said above of shipped weights, their "
            "training and their scores isn't about them.**"
        ]
    if exports:
        shape = about["network_data_format"]["inputs"]["image"]
        size = " × ".join(str(number) for number in (1, shape["num_channels"], *shape["spatial_shape"]))
        files = ", ".join(f"`models/{file}`" for file in exports)
        lines += ["", f"The network alone, for one prepared image or window of {size}, float32, logits out: {files}."]
    return "\n".join(lines) + "\n"
