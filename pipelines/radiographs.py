"""The verb `data drr`: simulated X-rays with exact masks, from a labelled CT or from the surfaces of pelvises."""

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from radseg.pipelines.console import tracked
from radseg.pipelines.datalist import SPLITS
from radseg.pipelines.engine.device import pick_device
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import Volume, load_mask, load_volume
from radseg.pipelines.io.destination import made_at
from radseg.pipelines.io.local_copy import local_copy, urls_in_errors
from radseg.pipelines.io.storage_url import is_remote
from radseg.pipelines.io.storage_url import place as placed
from radseg.pipelines.io.volume import check_same_grid
from radseg.pipelines.read_surface import read_surface
from radseg.pipelines.splits import split_groups
from radseg.transforms.radiography.attenuation import attenuation_per_mm
from radseg.transforms.radiography.cone_beam import ConeBeam
from radseg.transforms.radiography.film import expose, sample_exposure
from radseg.transforms.radiography.line_integrals import line_integrals, projected_mask
from radseg.transforms.radiography.pelvis_radiograph import PelvisBones, Projection, Surface, project_pelvis
from radseg.transforms.radiography.surface_thickness import close_holes

Kind = Literal["auto", "chest", "pelvis"]
_LARGEST = 4096  # pixels a side; an exposure of so many takes some 2 GB
_SHORTEST_MM = 100.0  # along the body; less isn't a chest, and a slanting beam would find no height in it
_BODY_HU = -300.0
_AIR_HU = -1000.0
_BEYOND_ENDS_MM = 60.0
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: isn't an empty folder; choose another with --output")
    chosen = kind if kind != "auto" else "pelvis" if (origin / "sacrum").is_dir() else "chest"
    if chosen == "pelvis" and not (mask is None and labels is None):
        raise ConfigError("bone surfaces have their own masks; leave out --mask and --labels")
    if labels is not None and min(labels, default=0) < 1:
        raise ConfigError("--labels takes values from 1 up; 0 is the background")
    torch_device = pick_device(device)
    patients = _pelvises(origin) if chosen == "pelvis" else _chest(origin, mask, labels, str(torch_device))
    split_of = _splits([name for name, _ in patients], seed)
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
            place = Path(unfinished) / "dataset"
            (place / "images").mkdir(parents=True)
            (place / "masks").mkdir()
            jobs = [(number, name, take, view) for number, (name, take) in enumerate(patients) for view in range(count)]
            for number, patient, take, view in tracked(jobs, "taking X-rays", progress):
                rng = np.random.default_rng([seed, number, view])
                projection = take(size, rng)
                name = f"{patient}-{view + 1:03d}.png"
                picture = expose(projection.line_integral, sample_exposure(rng), seed=rng)
                _save(place / "images" / name, picture)
                _save(place / "masks" / name, projection.mask.cpu().numpy().astype(np.uint8) * np.uint8(255))
                item = {"image": f"images/{name}", "label": f"masks/{name}", "patient": patient}
                lists[split_of[patient]].append(item)
            described = {
                "name": f"simulated {chosen} X-rays",
                "description": f"Digitally reconstructed radiographs, no real X-rays. Mask: {_MASKS[chosen]}.",
                "simulated": True,
                "seed": seed,
                "labels": {"0": "background", "1": "labelled" if chosen == "chest" else "pelvic bones"},
            }
            (place / "datalist.json").write_text(json.dumps({**described, **lists}, indent=2) + "\n")
            if folder.exists():
                folder.rmdir()
            place.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror}); choose another with --output") from error
    return Made(folder, {split: len(items) for split, items in lists.items()}, _MASKS[chosen])


Take = Callable[[int, np.random.Generator], Projection]


def _chest(origin: Path, mask: str | Path | None, labels: Sequence[int] | None, device: str) -> list[tuple[str, Take]]:
    """One patient, and how an X-ray of it is taken."""
    if mask is None:
        raise ConfigError(f"{origin}: an X-ray from a CT needs --mask FILE, labels on the CT's grid")
    ct, label = load_volume(origin), load_mask(mask)
    if ct.is_picture:
        raise InputError(f"{origin}: is a picture; an X-ray is computed from a CT volume")
    check_same_grid(origin, ct, Path(mask), label)
    length_mm = float(np.abs(ct.affine_ras[2, :3]) @ ct.array.shape)
    if length_mm < _SHORTEST_MM:
        raise InputError(
            f"{origin}: reaches over {length_mm:.0f} mm along the body, {_SHORTEST_MM:g} mm are needed; give a chest CT"
        )
    counts = label.array != 0 if labels is None else np.isin(label.array, np.asarray(labels))
    if not counts.any():
        wanted = "any label" if labels is None else f"label {', '.join(map(str, labels))}"
        raise InputError(f"{mask}: holds no voxel of {wanted}; choose others with --labels")
    body, lungs, inner = _extended(_without_table(ct), counts)

    def take(size: int, rng: np.random.Generator) -> Projection:
        # another build: the volume stretched a little along the patient's axes
        build = np.diag([*rng.uniform(0.92, 1.1, 3), 1.0])
        affine = build @ body.affine_ras
        beam = _chest_beam(lungs, affine, inner, size, rng)
        per_mm = attenuation_per_mm(torch.from_numpy(body.array), float(rng.uniform(50, 90)))
        integral = line_integrals(per_mm, affine, beam, device=device)
        return Projection(integral.to(torch.float64), projected_mask(lungs, affine, beam, device=device))

    return [(_plain(origin.name), take)]


def _chest_beam(
    lungs: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    inner: tuple[slice, slice, slice],
    size: int,
    rng: np.random.Generator,
) -> ConeBeam:
    """PA at 1.8 m, or AP as at the bedside, around the labelled part; the picture ends where the CT does."""
    occupied = [np.flatnonzero(lungs.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    low, high = _box([(line[0], line[-1]) for line in occupied], affine)
    ct_low, ct_high = _box([(part.start, part.stop - 1) for part in inner], affine)
    centre = (low + high) / 2 + rng.normal(0, 6, 3)
    behind = rng.random() < 0.7
    distance = rng.uniform(1700, 1900) if behind else rng.uniform(1000, 1400)
    to_centre = distance - (high[1] - low[1]) / 2 - rng.uniform(30, 80)
    rows, columns = _frame(size, float(rng.uniform(0.85, 1.12)))
    pixel_at_centre = max((high[0] - low[0]) / columns, (high[2] - low[2]) / rows) * rng.uniform(1.06, 1.3)
    pitch = float(rng.normal(0, 3 if behind else 6))
    slant = abs(np.tan(np.radians(pitch))) * (high[1] - low[1]) / 2
    pixel_at_centre = min(pixel_at_centre, (ct_high[2] - ct_low[2] - slant) / rows)
    centre[2] = min(centre[2], ct_high[2] - slant - rows * pixel_at_centre / 2)
    return ConeBeam(
        source_to_detector_mm=float(distance),
        source_to_centre_mm=float(to_centre),
        centre_ras=_point(centre),
        rows=rows,
        columns=columns,
        pixel_mm=float(pixel_at_centre * distance / to_centre),
        view="PA" if behind else "AP",
        yaw_degrees=float(rng.normal(0, 3)),
        pitch_degrees=pitch,
        roll_degrees=float(rng.normal(0, 2.5)),
    )


def _without_table(ct: Volume) -> Volume:
    """The CT with air all around the patient, who is its largest connected piece."""
    from scipy import ndimage

    pieces, number = ndimage.label(ct.array > _BODY_HU)
    if number == 0:
        return ct
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = pieces == sizes.argmax()
    long_axis = int(np.abs(ct.affine_ras[2, :3]).argmax())
    slices = np.moveaxis(body, long_axis, 0)
    for index, plane in enumerate(slices):
        slices[index] = ndimage.binary_fill_holes(plane)
    return Volume(np.where(body, ct.array, np.float32(_AIR_HU)), ct.affine_ras, ct.units)


def _extended(
    ct: Volume, mask: npt.NDArray[np.bool_]
) -> tuple[Volume, npt.NDArray[np.bool_], tuple[slice, slice, slice]]:
    """CT and mask, the CT mirrored at its ends so that slanting rays don't leave the body where it was cut.

    The mirrored ends aren't for looking at. The slices say where the CT's own voxels lie.
    """
    long_axis = int(np.abs(ct.affine_ras[2, :3]).argmax())
    more = [int(np.ceil(_BEYOND_ENDS_MM / ct.spacing_mm[axis])) if axis == long_axis else 0 for axis in range(3)]
    wider = [(number, number) for number in more]
    affine = ct.affine_ras.copy()
    affine[:3, 3] -= affine[:3, :3] @ more
    i, j, k = (slice(before, before + length) for before, length in zip(more, ct.array.shape, strict=True))
    return Volume(np.pad(ct.array, wider, mode="symmetric"), affine, ct.units), np.pad(mask, wider), (i, j, k)


def _box(
    ends: Sequence[tuple[int, int]], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lower and upper corner in RAS mm of a box of voxels with its first and last index along each axis."""
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
    places = affine[:3, :3] @ corners + affine[:3, 3:]
    return places.min(axis=1), places.max(axis=1)


def _pelvises(origin: Path) -> list[tuple[str, Take]]:
    """The patients of a folder with left/, right/ and sacrum/, and how an X-ray of each is taken."""
    files: dict[str, dict[str, Path]] = {}
    for part in ("right", "left", "sacrum"):
        for file in sorted(origin.glob(f"{part}/*.vtk*")):
            found = re.search(r"(\d+)\.vtk(\.gz)?$", file.name)
            if found is None:
                continue
            other = files.setdefault(found[1], {}).setdefault(part, file)
            if other != file:
                raise InputError(f"{file}: {other.name} is {part} {found[1]} too; keep one of them")
    if not files:
        raise InputError(f"{origin}: no surfaces left/*.vtk, right/*.vtk, sacrum/*.vtk (or .vtk.gz); give their folder")
    for number, parts in files.items():
        for part in ("right", "left", "sacrum"):
            if part not in parts:
                raise InputError(f"{origin}: pelvis {number} has no surface in {part}/; add it or take the others out")

    def taken_of(parts: dict[str, Path]) -> Take:
        def take(size: int, rng: np.random.Generator) -> Projection:
            right, left, sacrum = (_surface(parts[part]) for part in ("right", "left", "sacrum"))
            bones = PelvisBones(right, left, sacrum).scaled(torch.from_numpy(rng.uniform(0.93, 1.08, 3)))
            try:
                return project_pelvis(bones, _pelvis_beam(bones, size, rng), float(rng.uniform(48, 75)), rng)
            except ValueError as error:
                raise InputError(f"{parts['sacrum']}: not a pelvis with its hip bones ({error})") from error

        return take

    return [
        (f"pelvis{number}", taken_of(parts)) for number, parts in sorted(files.items(), key=lambda one: int(one[0]))
    ]


def _surface(file: Path) -> Surface:
    vertices_lps, faces = read_surface(file)
    if len(faces) < 4:
        raise InputError(f"{file}: {len(faces)} triangles are no closed surface; export it again")
    return Surface(torch.from_numpy(vertices_lps * _LPS_TO_RAS), close_holes(torch.from_numpy(faces)))


def _pelvis_beam(bones: PelvisBones, size: int, rng: np.random.Generator) -> ConeBeam:
    """AP, supine, the detector under the table."""
    low, high = (np.array(corner) for corner in bones.box())
    centre = (low + high) / 2 + rng.normal(0, 1, 3) * (8, 4, 10) - (0, 0, rng.uniform(0, 25))
    distance = rng.uniform(1000, 1200)
    to_centre = distance - rng.uniform(160, 230)
    rows, columns = _frame(size, float(rng.uniform(0.78, 1.0)))
    return ConeBeam(
        source_to_detector_mm=float(distance),
        source_to_centre_mm=float(to_centre),
        centre_ras=_point(centre),
        rows=rows,
        columns=columns,
        pixel_mm=float((high[0] - low[0]) * rng.uniform(1.12, 1.5) * distance / to_centre / columns),
        view="AP",
        yaw_degrees=float(rng.normal(0, 3)),
        pitch_degrees=float(rng.normal(0, 6)),
        roll_degrees=float(rng.normal(0, 2.5)),
    )


def _splits(patients: list[str], seed: int) -> dict[str, str]:
    """70 % of the patients train, 10 % validate, 20 % test; fewer than three all train."""
    if len(patients) < len(SPLITS):
        return dict.fromkeys(patients, SPLITS[0])
    sides = split_groups(dict.fromkeys(patients, 1), (70, 10, 20), seed)
    return {patient: SPLITS[side] for patient, side in sides.items()}


def _frame(size: int, rows_per_column: float) -> tuple[int, int]:
    """Rows and columns of which the more numerous are `size`."""
    if rows_per_column > 1:
        return size, max(1, round(size / rows_per_column))
    return max(1, round(size * rows_per_column)), size


def _point(place: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(part) for part in place)
    return x, y, z


def _plain(name: str) -> str:
    stem = re.sub(r"(\.nii|\.nrrd|\.mha|\.mhd|\.zip)?(\.gz)?$", "", name)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem) or "ct"


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, format="PNG")
