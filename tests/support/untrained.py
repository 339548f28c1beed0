"""Bundles as they are before anyone has trained them."""

import json
import shutil
from pathlib import Path

import pytest

import radseg.bundles
from radseg.pipelines.bundle_loader import find_bundle
from radseg.pipelines.label_server.models import versions
from radseg.pipelines.pack import packing


def untrained(name: str, folder: Path) -> Path:
    """A copy of a bundle, without its weights."""
    copy = folder / name
    shutil.copytree(radseg.bundles.root(name), copy, ignore=shutil.ignore_patterns("models"))
    about = json.loads((copy / "metadata.json").read_text())
    (copy / "metadata.json").write_text(json.dumps({**about, "weights_sha256": None}))
    return copy


def first_version_untrained(workspace: Path, name: str, folder: Path) -> None:
    """Makes the first version of a server's model without weights."""
    copy = untrained(name, folder)
    with pytest.MonkeyPatch.context() as patch:
        for module in (versions, packing):
            patch.setattr(module, "find_bundle", lambda one, *trust: copy if one == name else find_bundle(one, *trust))
        versions.Versions(workspace).prepare(name)
