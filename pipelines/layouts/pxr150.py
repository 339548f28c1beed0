"""PXR150, pelvic X-rays: `images_all/*.png` as published, and a folder of masks drawn for them (100 of the 150)."""

from pathlib import Path

from radseg.pipelines.layouts.folders import images_by_stem, pair, require
from radseg.pipelines.layouts.item import Found, Item


def items(source: Path, *, images: str | None = None, labels: str = "masks") -> Found:
    """Each image counts as a patient of its own: the file names tell none.

    The data set (doi.org/10.1038/s41467-021-21311-3) is published without masks of the bones; the masks are what one
    draws for it, a PNG with the stem of its X-ray each.

    Args:
        source: the folder that holds both.
        images: folder of the X-rays; `images_all` as published, else `images`, when not given.
        labels: folder of the masks.

    Raises:
        InputError: a folder is missing, or no image has a mask.
    """
    if images is None:
        images = "images" if (source / "images").is_dir() and not (source / "images_all").is_dir() else "images_all"
    require(source, images, labels, options=("--images", "--labels"))
    masks = images_by_stem(source / labels)
    pairs, warnings = pair(images_by_stem(source / images), masks, source, source / labels)
    found = tuple(Item(Path(stem).name, image, mask, stem) for stem, image, mask in pairs)
    return Found(found, warnings, {"0": "background", "1": "pelvic bones"})
