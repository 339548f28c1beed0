"""The truths that masks are shown beside: found by the case's name, in the bundle's labels, on the image's grid."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from radseg.pipelines.bundle_loader import find_bundle, known_to, load_workflow, read_json
from radseg.pipelines.cases import Case
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import Volume, load_mask, mask_on_image
from radseg.pipelines.layouts.folders import images_by_stem, stem_of

Relabel = Callable[[torch.Tensor], torch.Tensor]
_RELABEL = "evaluator#truth"


class Truths:
    """Gives the truth of a case.

    Args:
        where: a mask of the only case, or a folder of masks named as the images are; None knows no truth.
        relabel: array transform from the labels in the files to those of the bundle.
        cases: all that there are.

    Raises:
        InputError: `where` isn't there.
        ConfigError: one mask for several cases.
    """

    def __init__(self, where: Path | str | None, relabel: Relabel | None, cases: Sequence[Case]) -> None:
        self.relabel = relabel
        self.files: dict[str, Path] = {}
        self.only: Path | None = None
        if where is None:
            return
        where = Path(where)
        if where.is_dir():
            self.files = {Path(stem).name: file for stem, file in images_by_stem(where).items()}
        elif not where.is_file():
            raise InputError(f"{where}: no such mask or folder of masks; check --truth")
        elif len(cases) > 1:
            raise ConfigError(f"{where}: one mask for {len(cases)} images; give a folder of masks named as the images")
        else:
            self.only = where

    def of(self, case: Case, volume: Volume) -> npt.NDArray[np.uint8] | None:
        """The truth of a case on the grid of its image, None where there is none.

        Raises:
            InputError: it can't be read, or isn't of this image.
        """
        names = (case.name, stem_of(case.source))
        file = self.only or next((self.files[name] for name in names if name in self.files), None)
        if file is None:
            return None
        mask = mask_on_image(case.source, volume, file, load_mask(file))
        labels = torch.from_numpy(np.ascontiguousarray(mask.array))[None]
        found = labels if self.relabel is None else self.relabel(labels)
        return np.asarray(found[0]).astype(np.uint8)


def relabelling(bundle: str | Path, overrides: Mapping[str, Any], trust_config: bool) -> Relabel | None:
    """How the bundle's evaluate.json reads labels; None of a bundle that doesn't say.

    Args:
        bundle: name or folder.
        overrides: config keys and values; those that evaluate.json has not are left out.
        trust_config: allow a folder that isn't radseg's own.

    Raises:
        ConfigError: evaluate.json can't be used.
    """
    file = find_bundle(bundle, trust_config) / "evaluate.json"
    if not file.is_file():
        return None
    content = read_json(file)
    if "truth" not in content.get("evaluator", {}):
        return None
    parser = load_workflow(bundle, "evaluate", known_to(content, overrides, file), trust_config).parser
    parser.parse()
    relabel: Relabel = parser.get_parsed_content(_RELABEL)
    return relabel
