"""What 3D Slicer's MONAI Label plug-in says to a server, in its order, with the client that it carries.

SimpleITK stands for Slicer's own reading and writing of volumes. The sequence follows the plug-in's published source
(plugins/slicer/MONAILabel/MONAILabel.py of Project-MONAI/MONAILabel).
"""

from pathlib import Path
from typing import Any

import numpy as np
import requests
import SimpleITK

_SECTIONS = {"infer": "models", "train": "trainers", "activelearning": "strategies", "scoring": "scoring"}


class SlicerPlugin:
    """A user's session with the plug-in.

    Args:
        url: server.
        folder: for files in transit.
        extension: of the labels it saves: .nii.gz (its default), .nrrd or .seg.nrrd.
        one_client: whether one client is kept for all, instead of one a call.
    """

    def __init__(self, url: str, folder: Path, extension: str = ".nii.gz", one_client: bool = False) -> None:
        from monailabel.client import MONAILabelClient

        self._new = lambda: MONAILabelClient(url, str(folder), "user-xyz")
        self._kept = self._new() if one_client else None
        self._login: dict[str, str] | None = None
        self.url = url
        self.folder = folder
        self.extension = extension
        self.info: dict[str, Any] = {}

    @property
    def client(self) -> Any:
        """The client, logged in."""
        client = self._kept or self._new()
        client.update_auth(self._login)
        return client

    def connect(self, password: str) -> dict[str, Any]:
        """Asks whether to log in, does so, and asks what there is."""
        if self.client.auth_enabled():
            self._login = self.client.auth_token("anna", password)
            assert self.client.auth_valid_token()
        self.info = self.client.info()
        return self.info

    def options(self, section: str, name: str) -> dict[str, Any]:
        """What its table of options sends back: all that the server has told, the first of a list."""
        told = self.info[_SECTIONS[section]].get(name, {}).get("config", {})
        return {key: value[0] if isinstance(value, list) else value for key, value in told.items()}

    def next_sample(self, strategy: str) -> dict[str, Any]:
        """The next image that the server wants labelled."""
        return self.client.next_sample(strategy, self.options("activelearning", strategy))  # type: ignore[no-any-return]

    def load(self, sample: dict[str, Any]) -> SimpleITK.Image:
        """The image: from the same disk if it is there, else by HTTP, which Slicer does without the token."""
        path = sample.get("path")
        if path and Path(path).exists():
            return SimpleITK.ReadImage(path)
        answer = requests.get(f"{self.url}/datastore/image", params={"image": sample["id"]}, timeout=60)
        answer.raise_for_status()
        file = self.folder / sample.get("name", "image.nii.gz")
        file.write_bytes(answer.content)
        return SimpleITK.ReadImage(file)

    def segment(self, model: str, image: str, session: str | None = None) -> SimpleITK.Image:
        """The model's mask of an image."""
        wanted = {**self.options("infer", model), "result_extension": ".nrrd", "result_dtype": "uint8"}
        file, told = self.client.infer(model, image, wanted, session_id=session)
        assert told["label_names"], "Slicer names the segments by this"
        mask = SimpleITK.ReadImage(file)
        Path(file).unlink()
        return mask

    def submit(self, image: str, label: SimpleITK.Image, names: list[str]) -> dict[str, Any]:
        """Saves the segments as a label map and submits it."""
        file = self.folder / f"exported{self.extension}"
        SimpleITK.WriteImage(label, str(file), self.extension != ".nii.gz")
        info = [{"name": name, "idx": index} for index, name in enumerate(names, start=1)]
        return self.client.save_label(image, str(file), params={"label_info": info})  # type: ignore[no-any-return]

    def submitted(self, image: str, tag: str = "final") -> np.ndarray:
        """Voxels of a label that the server has, (k, j, i)."""
        file = Path(self.client.download_label(image, tag))
        voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file))
        file.unlink()
        return voxels

    def train(self, model: str | None, **changes: Any) -> dict[str, Any]:
        """Starts a training of a model, or of all."""
        options = self.options("train", model) if model else {}
        return self.client.train_start(model, {**options, **changes})  # type: ignore[no-any-return]


def corrected(mask: SimpleITK.Image, value: int = 1) -> SimpleITK.Image:
    """A mask with a block painted into its middle, off centre so that no flip hides."""
    voxels = SimpleITK.GetArrayFromImage(mask)
    low = [size // 4 for size in voxels.shape]
    high = [max(size // 2, start + 1) for size, start in zip(voxels.shape, low, strict=True)]
    voxels[tuple(slice(*pair) for pair in zip(low, high, strict=True))] = value
    painted = SimpleITK.GetImageFromArray(voxels)
    painted.CopyInformation(mask)
    return painted
