"""The verb `data drr`: simulated X-rays with exact masks, from a labelled CT or from the surfaces of pelvises."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from radseg.pipelines.engine.device import pick_device
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.store.destination import made_at
from radseg.pipelines.io.store.local_copy import local_copy, urls_in_errors
from radseg.pipelines.io.store.url import is_remote
from radseg.pipelines.io.store.url import place as placed
from radseg.pipelines.simulate.chest_projection import chest_patients
from radseg.pipelines.simulate.pelvis_projection import pelvis_patients
from radseg.pipelines.simulate.simulated_dataset import Save, Simulated, refuse_full, write_simulated
from radseg.transforms.radiography.film import expose, sample_exposure
from radseg.transforms.radiography.projection import Take

Kind = Literal["auto", "chest", "pelvis"]
_LARGEST = 4096  # pixels a side; an exposure of so many takes some 2 GB
_MASKS = {
    "chest": "all that the labels mark, what lies behind heart and diaphragm too",
    "pelvis": "both hip bones and the sacrum as far as its surface goes; no femur, no lumbar vertebra",
}


@dataclass(frozen=True)
class Made:
    """What `make_radiographs` wrote.

    Attributes:
        folder: the dataset's folder or URL, with images/, masks/ and datalist.json.
        items: number of X-rays in each split.
        mask: what the masks cover, in words.
    """

    folder: Path | str
    items: dict[str, int]
    mask: str


def make_radiographs(
    source: str | Path,
    output: str | Path,
    *,
    kind: Kind = "auto",
    mask: str | Path | None = None,
    labels: Sequence[int] | None = None,
    count: int = 1,
    seed: int = 0,
    size: int = 512,
    device: str = "cpu",
    progress: bool = True,
) -> Made:
    """Makes a dataset of simulated X-rays: images/*.png, masks/*.png (0 or 255) and a datalist.json.

    View, pose, build, beam energy, tissue and noise are drawn anew for each; the same seed gives the same files.

    - chest: PA and AP views of a CT. The mask is the projected mask: a pixel whose ray meets the labelled voxels. For
      lungs that is all of them, behind heart and diaphragm too, not the clear field alone that some readers draw.
    - pelvis: AP views of surfaces in `left/`, `right/` and `sacrum/` (LPS mm, files matched by the number in their
      name), in simulated soft tissue. The mask is where a ray meets a hip bone or the sacrum.

    Args:
        source: a CT (a file or the folder of a series), or a folder of pelvic surfaces; path or URL.
        output: a new or empty folder, or a URL.
        kind: "chest" or "pelvis"; "auto" takes pelvis where the surface folders are.
        mask: for a CT, the label image on its grid.
        labels: the values of `mask` that count; None for all but 0.
        count: X-rays per CT or pelvis.
        seed: of everything that is drawn.
        size: pixels of the longer side.
        device: where the rays are followed, a CT's only.
        progress: show a bar.

    Raises:
        ConfigError: an impossible count, size or kind, or a CT without a mask.
        InputError: a file can't be used, the labels don't occur, or `output` isn't an empty folder.
    """
    if is_remote(output):
        with urls_in_errors(), made_at(output, "datalist.json") as staging:
            made = make_radiographs(
                source, staging, kind=kind, mask=mask, labels=labels, count=count, seed=seed, size=size, device=device,
                progress=progress,
            )  # fmt: skip
        return replace(made, folder=placed(output))
    origin, folder = local_copy(source), Path(output)
    mask = None if mask is None else local_copy(mask)
    if count < 1 or not 16 <= size <= _LARGEST or seed < 0:
        raise ConfigError(
            f"count {count}, size {size}, seed {seed}: count ≥ 1, 16 ≤ size ≤ {_LARGEST} and seed ≥ 0 are needed"
        )
    if kind not in ("auto", "chest", "pelvis"):
        raise ConfigError(f"kind {kind!r} is unknown; there are auto, chest, pelvis")
    if not origin.exists():
        raise InputError(f"{origin}: no such file or folder; give a CT or a folder of pelvic surfaces")
    refuse_full(folder)
    chosen = kind if kind != "auto" else "pelvis" if (origin / "sacrum").is_dir() else "chest"
    if chosen == "pelvis" and not (mask is None and labels is None):
        raise ConfigError("bone surfaces have their own masks; leave out --mask and --labels")
    if labels is not None and min(labels, default=0) < 1:
        raise ConfigError("--labels takes values from 1 up; 0 is the background")
    torch_device = pick_device(device)
    patients = (
        pelvis_patients(origin) if chosen == "pelvis" else chest_patients(origin, mask, labels, str(torch_device))
    )
    simulated = Simulated(
        [(name, _saving(take, size)) for name, take in patients], count, seed, ".png",
        {
            "name": f"simulated {chosen} X-rays",
            "description": f"Digitally reconstructed radiographs, no real X-rays. Mask: {_MASKS[chosen]}.",
            "labels": {"0": "background", "1": "labelled" if chosen == "chest" else "pelvic bones"},
        },
        "taking X-rays",
    )  # fmt: skip
    return Made(folder, write_simulated(simulated, folder, progress), _MASKS[chosen])


def _saving(take: Take, size: int) -> Save:
    def save(rng: np.random.Generator, image: Path, mask: Path) -> None:
        projection = take(size, rng)
        _save(image, expose(projection.line_integral, sample_exposure(rng), seed=rng))
        _save(mask, projection.mask.cpu().numpy().astype(np.uint8) * np.uint8(255))

    return save


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, format="PNG")
