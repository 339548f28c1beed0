"""The dictionary transform with which every bundle's preprocessing begins: cases or paths to MetaTensors."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from radseg.pipelines.io.find_images import Case
from radseg.pipelines.io.load import as_case, load_mask, load_volume
from radseg.pipelines.io.pairing import mask_on_image
from radseg.pipelines.io.volume import Volume, as_float32, check_same_grid


class LoadCased(MapTransform):
    """Replaces cases or paths by MetaTensors, float32, shape (1, i, j, k), affine voxel → RAS mm.

    An entry that is a MetaTensor already passes as it is.

    The metadata hold what MONAI's Orientationd, Spacingd, Invertd and SaveImaged look for, "units" ("HU", "grey" or
    "label"), "spacing_known" and "notes" (one line each; "" when there is nothing to say). Masks come on the grid of
    the first image, by the rule of `mask_on_image`.

    Args:
        keys: entries of the data dictionary, each a Case or a path to a file, folder or zip of one case.
        label_keys: those among the keys that are masks: values kept and rounded, no image checks.
        allow_missing_keys: data without an entry pass, so that one preprocessing serves images without masks.
        min_slices: the fewest slices that an image must have.
        modality: DICOM Modality that a series must have; "DX" is every kind of radiograph (DX, CR, RG).
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection = (),
        allow_missing_keys: bool = True,
        min_slices: int = 1,
        modality: str = "CT",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_keys = set(ensure_tuple(label_keys))
        self.min_slices = min_slices
        self.modality = modality
        unknown = self.label_keys - set(self.keys)
        if unknown:
            raise ValueError(f"label_keys {sorted(map(str, unknown))} are not among keys {self.keys}")

    def load_image(self, case_or_path: Case | Path | str) -> Volume:
        """The image of a case as stored (float32 or int16), held to what this loader asks of images.

        Raises:
            InputError: it can't be used.
        """
        return load_volume(case_or_path, modality=self.modality, min_slices=self.min_slices)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load the entries.

        Raises:
            InputError: an input can't be used, or image and mask don't belong together.
        """
        loaded = dict(data)
        first: tuple[Path, Volume] | None = None
        keys = sorted(self.key_iterator(loaded), key=lambda key: key in self.label_keys)  # images before masks
        for key in keys:
            if isinstance(loaded[key], MetaTensor):
                continue
            case = as_case(loaded[key], modality=self.modality)
            volume = load_mask(case) if key in self.label_keys else self.load_image(case)
            if first is None:
                first = case.source, volume
            elif key in self.label_keys:
                volume = mask_on_image(*first, case.source, volume)
            else:
                check_same_grid(*first, case.source, volume)
            loaded[key] = as_float32(volume).to_tensor(case.source)
        return loaded
