"""What folders hold: image files by their stem, images paired with masks of the same stem, and what is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from radseg.pipelines.errors import InputError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".dcm")
_SHOWN = 3
_HINT_DEPTH = ("*", "*/*")


def suffix_of(path: Path) -> str:
    """The suffix of an image that can be read, in lower case ("" if it can't): ".nii.gz" is one suffix."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def stem_of(path: Path) -> str:
    """A file's name without its suffix."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def require(source: Path, *inside: str, options: Sequence[str] = ()) -> None:
    """See that `source` is a folder that holds all of `inside` (files or folders, relative).

    Args:
        source: the folder.
        inside: what it must hold.
        options: the command line's options that name them, where there are some.

    Raises:
        InputError: says which is missing and what is there instead, and names a folder below that has them all.
    """
    if not source.exists():
        raise InputError(f"{source}: no such folder; check the path")
    if not source.is_dir():
        raise InputError(f"{source}: isn't a folder; unpack the data set and give its folder")
    missing = [one for one in inside if not (source / one).exists()]
    if not missing:
        return
    below = (folder for pattern in _HINT_DEPTH for folder in sorted(source.glob(pattern)) if folder.is_dir())
    better = next((folder for folder in below if all((folder / one).exists() for one in inside)), None)
    remedy = f"give {better}" if better else f"give the folder that holds {' and '.join(inside)}"
    held = listed(sorted(path.name for path in source.iterdir() if path.is_dir() and path.name[0] != "."))
    if options and held and not better:
        remedy = f"it holds {held}: name the folders by {' and '.join(options)}, or {remedy}"
    raise InputError(f"{source}: no {missing[0]} in it; {remedy}")


def images_by_stem(folder: Path, *, drop: str = "") -> dict[str, Path]:
    """The images in and below `folder` by relative path without suffix; hidden files are passed over.

    Args:
        folder: where to look.
        drop: an ending to take off the stems, such as "_mask"; files without it are passed over.

    Raises:
        InputError: two files differ in their suffix alone.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not suffix_of(path) or any(part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        stem = stem_of(path)
        if not stem.endswith(drop):
            continue
        key = (relative.parent / stem[: len(stem) - len(drop)]).as_posix()
        if key in found:
            raise InputError(f"{folder}: {found[key].name} and {path.name} have one stem; keep one of them")
        found[key] = path
    return found


def pair(
    images: Mapping[str, Path], masks: Mapping[str, Path], source: Path, masks_in: Path | None = None
) -> tuple[list[tuple[str, Path, Path]], tuple[str, ...]]:
    """Images and masks of the same stem, in the order of the stems, and warnings about those that stay alone.

    Args:
        images: by stem.
        masks: likewise.
        source: where the images lie, for messages.
        masks_in: where the masks lie, if that is another folder.

    Raises:
        InputError: there is no image, or none has a mask.
    """
    if not images:
        raise InputError(f"{source}: holds no image ({', '.join(SUFFIXES)}); check the folder")
    pairs = [(stem, images[stem], masks[stem]) for stem in sorted(images) if stem in masks]
    if not pairs:
        beside = f"; {masks_in} holds {listed(sorted(masks)) or 'no mask'}" if masks_in else ""
        named = listed(sorted(images))
        raise InputError(
            f"{source}: none of its {len(images)} images has a mask of the same name ({named}){beside}; "
            "check the folder of masks and how its files are named"
        )
    return pairs, (
        *without("images", "mask", [images[stem].name for stem in sorted(images) if stem not in masks]),
        *without("masks", "image", [masks[stem].name for stem in sorted(masks) if stem not in images]),
    )


def without(what: str, lacks: str, names: Sequence[str]) -> tuple[str, ...]:
    """The warning that these files were left out, if there are any."""
    return (f"{len(names)} {what} without {lacks} left out: {listed(names)}",) if names else ()


def listed(names: Sequence[str]) -> str:
    """The first few names and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
