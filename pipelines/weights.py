"""Network weights on disk: state dicts only, read without pickle's code, checked by sha256."""

import copy
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from radseg.bundles import configs
from radseg.networks.encoder_unet import FORM_MARK
from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.io.store.local_copy import local_copy


def sha256_of(file: Path | str) -> str:
    """Hexadecimal sha256 of the bytes of a file or of what is at a URL."""
    with local_copy(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_all(files: Sequence[Path | str]) -> str:
    """That of a single file; of several the sha256 of theirs, each on a line, in their order."""
    digests = [sha256_of(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def load_weights(network: torch.nn.Module, weights: Path | str | None, bundle_root: Path | str) -> torch.nn.Module:
    """Fills `network` with the state dict in `weights` (float16 files are widened) and returns it.

    The file's sha256 is compared with the one recorded for it before anything is read: `weights_sha256` in the
    bundle's metadata.json for the weights that ship with it, a `<file>.sha256` beside it for any other.

    Raises:
        WeightsError: the file is missing, its sha256 differs, it isn't a plain state dict, or it belongs to another
            network.
    """
    bundle_root = Path(bundle_root)
    if weights is not None:
        weights = local_copy(weights, beside=(".sha256",))
    if weights is None or not Path(weights).is_file():
        raise WeightsError(_missing(weights, bundle_root))
    file = Path(weights)
    expected = _recorded_sha256(file, bundle_root)
    if expected is not None and (found := sha256_of(file)) != expected:
        raise WeightsError(f"{file}: sha256 is {found[:12]}…, recorded is {expected[:12]}…: fetch the file again")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{file}: not a state dict that can be read safely ({type(error).__name__})") from error
    wanted = network.state_dict()
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{file}: holds no state dict; save one with torch.save(network.state_dict(), file)")
    for name in [*wanted, *state]:
        if name == FORM_MARK and (name in state) != (name in wanted):
            raise WeightsError(
                f"{file}: was trained with encoder_padding {'torch' if name in state else 'keras'}; "
                "give the same --encoder_padding"
            )
        if name not in state or name not in wanted:
            raise WeightsError(
                f"{file}: tensor {name!r} is {'missing' if name in wanted else 'unknown'}: weights of another network"
            )
        if state[name].shape != wanted[name].shape:
            raise WeightsError(
                f"{file}: tensor {name!r} has shape {tuple(state[name].shape)}, "
                f"this network wants {tuple(wanted[name].shape)}"
            )
        if not torch.isfinite(state[name]).all():
            raise WeightsError(f"{file}: tensor {name!r} holds values that aren't numbers: train again, more slowly")
    network.load_state_dict(state)
    return network


def weights_files(weights: Path | str, folds: Sequence[int] | int | None = None) -> list[Path | str]:
    """The weights file itself, or with folds `fold_<n>/model.pt` of each in its folder.

    Args:
        weights: a file, or the folder of a cross-validation; its folder counts when a file is given with folds.
        folds: numbers of the folds whose networks are averaged.

    Raises:
        ConfigError: folds that aren't numbers from 0, or the same one twice.
    """
    if folds is None:
        return [weights]
    numbers = [folds] if isinstance(folds, int) else list(folds)
    if not numbers or len(set(numbers)) < len(numbers) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ConfigError(f"folds {folds!r}: give different numbers from 0, such as 0,1,2")
    text = str(weights).rstrip("/")
    folder = (text.rpartition("/")[0] or ".") if text.endswith(".pt") else text
    return [f"{folder}/fold_{number}/model.pt" for number in numbers]


def load_members(
    network: torch.nn.Module, files: Sequence[Path | str], bundle_root: Path | str
) -> list[torch.nn.Module]:
    """A network filled from each of the files; see `load_weights`.

    Raises:
        WeightsError: one of them can't be used.
    """
    networks = [network, *(copy.deepcopy(network) for _ in files[1:])]
    return [load_weights(one, file, bundle_root) for one, file in zip(networks, files, strict=True)]


def start_from(network: torch.nn.Module, weights: Path | str | None, bundle_root: Path | str) -> torch.nn.Module:
    """The network as it was made, or with `weights` to go on training from; see `load_weights`."""
    return network if weights is None else load_weights(network, weights, bundle_root)


def save_weights(network: torch.nn.Module, file: Path | str) -> str:
    """Writes the state dict of `network` whole and, after it, `<file>.sha256`; returns the sha256.

    The old sha256 goes first, so that a run killed in between leaves weights without one, never with a wrong one.
    """
    file = Path(file)
    sidecar = file.with_name(file.name + ".sha256")
    sidecar.unlink(missing_ok=True)
    write_atomically(network.state_dict(), file)
    digest = sha256_of(file)
    part = sidecar.with_name(sidecar.name + ".part")
    part.write_text(f"{digest}  {file.name}\n")
    part.replace(sidecar)
    return digest


def write_atomically(content: object, file: Path) -> None:
    """`torch.save` to a neighbour, then rename, so that `file` is never half-written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    try:
        with part.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _recorded_sha256(file: Path, bundle_root: Path) -> str | None:
    if file.resolve().is_relative_to(bundle_root.resolve()):
        recorded: str | None = json.loads((configs(bundle_root) / "metadata.json").read_text()).get("weights_sha256")
        return recorded
    beside = file.with_name(file.name + ".sha256")
    if not beside.is_file():
        return None
    words = beside.read_text().split()
    if not words:
        raise WeightsError(f"{beside}: is empty; delete it or write the sha256 of {file.name} into it")
    return words[0]


def _missing(weights: Path | str | None, bundle_root: Path) -> str:
    name = bundle_root.name
    if weights is None or Path(weights).resolve().is_relative_to(bundle_root.resolve()):
        return (
            f"bundle {name} has no trained weights yet: train with `radseg train {name}`, "
            f"then pass --weights runs/{name}/model.pt"
        )
    if Path(weights).is_dir():
        return f"{weights}: is a folder, not a weights file; {_inside(Path(weights))}"
    return f"{weights}: no such weights file; `radseg train {name}` writes one to runs/{name}/model.pt"


def _inside(folder: Path) -> str:
    """What to give instead of a folder, by what it holds."""
    if (folder / "model.pt").is_file():
        return f"give {folder / 'model.pt'}"
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        numbers = sorted(int(file.parent.name[5:]) for file in place.glob("fold_[0-9]*/model.pt"))
        if numbers:
            listed = ",".join(map(str, numbers))
            one = place / f"fold_{numbers[0]}" / "model.pt"
            return f"average its networks by --weights {place} --folds {listed}, or give one of them, such as {one}"
    return "give the model.pt that a training wrote"
