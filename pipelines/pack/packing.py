"""The verb `pack`: a bundle becomes the folder, or zip, that MONAI's tools and a model zoo take."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import find_bundle, load_workflow
from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.io.store.local_copy import local_copy
from radseg.pipelines.pack.documents import readme, requirements
from radseg.pipelines.pack.exports import FORMS, export
from radseg.pipelines.pack.packed_configs import METADATA, packed_configs
from radseg.pipelines.pack.place import check_place, made_beside
from radseg.pipelines.weights import load_weights, sha256_of

_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell: the same pack has the same bytes
_REGULAR_FILE = 0o100644 << 16
_OF_OTHERS = "not stated: the weights were given when the bundle was packed"


def pack(
    bundle: str | Path,
    output: str | Path,
    *,
    weights: str | Path | None = None,
    torchscript: bool = False,
    onnx: bool = False,
    openvino: bool = False,
    as_zip: bool = False,
    overwrite: bool = False,
    allow_no_weights: bool = False,
    trust_config: bool = False,
) -> Path:
    """Writes a bundle in the form of MONAI's ecosystem; the same bundle gives the same bytes again.

    Args:
        bundle: name or folder; a packed folder may be packed again, with other weights for instance.
        output: folder that gets `<name>/` (or `<name>.zip`) with `configs/`, `models/`, `docs/README.md`, `LICENSE` and
            `requirements.txt`.
        weights: state dict (file or URL) in place of the bundle's own; its bytes are packed as they are.
        torchscript: add `models/model.ts`.
        onnx: add `models/model.onnx`; takes the package `onnx`.
        openvino: add `models/model.xml` and `model.bin`.
        as_zip: write one zip, its entries stored, sorted and without times.
        overwrite: replace a pack that is there.
        allow_no_weights: pack a bundle that has none; an export is refused then.
        trust_config: allow a bundle folder that isn't radseg's own.

    Returns:
        The folder or zip.

    Raises:
        ConfigError: no such bundle, something is at the place already, or an export isn't possible.
        WeightsError: there are no weights, or those of another network.
        InputError: nothing can be written there.
    """
    root = find_bundle(bundle, trust_config)
    folder = _folder(output)
    target = folder / (f"{root.name}.zip" if as_zip else root.name)
    forms = [form for form, wanted in zip(FORMS, (torchscript, onnx, openvino), strict=True) if wanted]
    if folder.resolve().is_relative_to(root) or target.resolve() == root:
        raise ConfigError(f"{output}: lies in the bundle itself; choose another --output")
    check_place(target, overwrite)
    _check_whole(root)
    state = _checked_weights(root, weights, allow_no_weights and not forms)
    with made_beside(target, overwrite) as made:
        filled = made.with_name(root.name)
        _fill(filled, root, state, forms)
        if as_zip:
            _zip(filled, made)
    return target


def _folder(output: str | Path) -> Path:
    if "://" in str(output):
        raise ConfigError(f"{output}: a pack is written to a folder of this machine; upload it from there")
    return Path(output)


def _check_whole(root: Path) -> None:
    for file in (configs(root) / "logging.conf", root / "LICENSE", _card(root)):
        if not file.is_file():
            raise ConfigError(f"{file}: is missing, and a pack has to have one; write it")


def _card(root: Path) -> Path:
    return root / "docs" / "README.md" if configs(root) != root else root / "README.md"


def _checked_weights(root: Path, weights: str | Path | None, may_lack: bool) -> Path | None:
    """The file whose bytes are packed, once it is known to fill the network."""
    shipped = root / "models" / "model.pt"
    if weights is None and may_lack and not shipped.is_file():
        return None
    if weights is None and not shipped.is_file():
        raise WeightsError(
            f"bundle {root.name} has no trained weights yet: pass --weights FILE, or --allow-no-weights to do without"
        )
    file = shipped if weights is None else local_copy(weights, beside=(".sha256",))
    network: torch.nn.Module = load_workflow(root, "inference", {}, True).parser.get_parsed_content("network_def")
    load_weights(network, file, root)
    return Path(file)


def _fill(folder: Path, root: Path, state: Path | None, forms: list[str]) -> None:
    contents = packed_configs(root)
    digest = None if state is None else sha256_of(state)
    foreign = digest is not None and digest != contents[METADATA].get("weights_sha256")
    foreign = foreign or contents[METADATA].get("data_source") == _OF_OTHERS
    contents[METADATA] = about = _about(contents[METADATA], digest, foreign)
    for name, content in contents.items():
        _write(folder / "configs" / name, json.dumps(content, indent=4, ensure_ascii=False) + "\n")
    shutil.copyfile(configs(root) / "logging.conf", folder / "configs" / "logging.conf")
    shutil.copyfile(root / "LICENSE", folder / "LICENSE")
    _write(folder / "requirements.txt", requirements(about))
    if state is not None:
        (folder / "models").mkdir()
        shutil.copyfile(state, folder / "models" / "model.pt")
    exports = export(folder, forms)
    card = _card(root).read_text(encoding="utf-8")
    _write(folder / "docs" / "README.md", readme(card, root.name, about, foreign, exports))


def _about(about: Mapping[str, Any], digest: str | None, foreign: bool) -> dict[str, Any]:
    """The pack's metadata: what is said of the shipped weights isn't said of others."""
    result = {**about, "weights_sha256": digest}
    result["required_packages_version"] = {**about.get("required_packages_version", {}), "radseg": version("radseg")}
    if foreign:
        result |= {"eval_metrics": {}, "data_source": _OF_OTHERS}
    return result


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")


def _zip(folder: Path, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix(), _NO_TIME)
            entry.create_system = 3  # Unix, wherever it is packed
            entry.external_attr = _REGULAR_FILE
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed)
