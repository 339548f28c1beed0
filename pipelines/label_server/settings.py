"""What a server is started with, as a file that its process reads; no secret stands in it."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from radseg.pipelines.label_server.guard.tokens import write_secret


@dataclass(frozen=True)
class Settings:
    """All that the process of a server has to know.

    Attributes:
        studies: folder of images, or URL of a DICOMweb service.
        workspace: folder for versions, tokens, log and files in transit.
        bundles: names of those that are served.
        weights: `NAME=FILE`, version 1 of a bundle in a new workspace instead of what ships.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        host: address to listen at.
        port: TCP port; 0 for any that is free.
        hosts: names that the server answers to.
        certificate: file with the TLS certificate, None without TLS.
        certificate_key: file with its key.
        upload_bytes: how long a file that is sent may be.
        verbose: whether MONAI Label's own log is shown, which names images.
    """

    studies: str
    workspace: str
    bundles: tuple[str, ...]
    weights: tuple[str, ...]
    device: str
    host: str
    port: int
    hosts: tuple[str, ...]
    certificate: str | None
    certificate_key: str | None
    upload_bytes: int
    verbose: bool = False

    @property
    def folder(self) -> Path:
        """The workspace."""
        return Path(self.workspace)

    @property
    def key_file(self) -> Path:
        """Where the key is that signs tokens."""
        return guard_folder(self.folder) / "key"

    def save(self, file: Path) -> None:
        """Writes them for `load`."""
        write_secret(file, json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, file: Path) -> "Settings":
        """Those that `save` has written."""
        content = json.loads(file.read_text())
        told = {one.name: content[one.name] for one in fields(cls)}
        known: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in told.items()}
        return cls(**known)


def guard_folder(workspace: Path) -> Path:
    """Folder of a workspace's key and first token."""
    return workspace / "guard"
