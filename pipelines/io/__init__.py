"""Reading images of every kind into one form (voxels, RAS affine in mm, HU or grey) and writing masks back.

The names are loaded when first used, so that finding cases doesn't wait for MONAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radseg.pipelines.io.load import load_mask, load_pair, load_volume
    from radseg.pipelines.io.load_cased import LoadCased
    from radseg.pipelines.io.nifti import write_map, write_mask
    from radseg.pipelines.io.pairing import mask_on_image
    from radseg.pipelines.io.picture import write_map_png, write_mask_png
    from radseg.pipelines.io.volume import Volume

__all__ = [
    "LoadCased",
    "Volume",
    "load_mask",
    "load_pair",
    "load_volume",
    "mask_on_image",
    "write_map",
    "write_map_png",
    "write_mask",
    "write_mask_png",
]

_HOMES = {
    "LoadCased": "load_cased",
    "Volume": "volume",
    "load_mask": "load",
    "load_pair": "load",
    "load_volume": "load",
    "mask_on_image": "pairing",
    "write_map": "nifti",
    "write_map_png": "picture",
    "write_mask": "nifti",
    "write_mask_png": "picture",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
