"""How often the Genant grade and type of a simulated fracture in a real CT are found again, and how near the heights.

    python benchmarks/vertebrae --data ../shared/data [--every 3]

Each vertebra of three CTs whose body lies whole in the image is broken as wedge, biconcave and crush, once in each of
Genant's grades, its loss drawn evenly within the grade. Mask and CT are measured as `radseg measure` does: vertebrae
told apart, heights, grade. All are label 1, so that nothing gives the fracture away. The truth is what the simulator
was asked for. Each case becomes a line of --cases, and a run goes on where another was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from radseg.pipelines.measure.vertebrae import Deformity, deformities, measured_bodies, split_vertebrae
from radseg.pipelines.measure.vertebrae.genant import best_form, grade_of
from radseg.transforms.vertebrae import FractureVertebra
from radseg.transforms.vertebrae.compression import GENANT_LOSS, KINDS, Kind
from radseg.transforms.vertebrae.endplates import EDGE, Heights
from radseg.transforms.vertebrae.reached import as_asked
from radseg.transforms.vertebrae.squeeze import plan

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
CASES = ROOT / "runs" / "bench" / "vertebrae.jsonl"
RESULT = ROOT / "benchmarks" / "results" / "vertebrae.json"
BORDER = 0.02  # so near to 20, 25 or 40 % the grade is the toss of a coin
WAYS = ("found", "neighbours as before", "own heights known")


@dataclass(frozen=True)
class Source:
    """A CT with numbered vertebrae.

    Attributes:
        image: its file, below the data folder.
        labels: the file of its label map.
        values: the first and the last label of a vertebra; the sacrum, which has no grade, isn't among them.
        part: rows, columns and slices that are read: those around the spine, every second where they are many.
    """

    image: str
    labels: str
    values: tuple[int, int]
    part: tuple[slice, slice, slice] = (slice(None), slice(None), slice(None))


SOURCES = {
    "lumbar, 1 mm": Source("spine_ct/verse014/ct.nii.gz", "spine_ct/verse014/vertebrae.nii.gz", (20, 24)),
    "abdomen, 3 mm": Source(
        "spine_ct/totalsegmentator_example/example_ct.nii.gz",
        "spine_ct/totalsegmentator_example/totalseg.nii.gz",
        (27, 50),
    ),
    "chest, 2.5 mm": Source(
        "chest_ct/ct.nii.gz",
        "chest_ct/structures.nii.gz",
        (27, 50),
        (slice(140, 380, 2), slice(60, 330, 2), slice(None)),
    ),
}
Measured = dict[int, tuple[Heights | None, Deformity | None, float]]


def main() -> None:
    """Runs what isn't in the file of cases yet, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spine_ct and chest_ct")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th case")
    parser.add_argument("--mask-alone", action="store_true", help="measure masks without their CTs")
    parser.add_argument("--cases", type=Path, default=CASES, help="what is done; another file for another version")
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.cases.parent.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in chosen.cases.read_text().splitlines()] if chosen.cases.exists() else []
    with chosen.cases.open("a") as file:
        for name, source in SOURCES.items():
            done = {tuple(one["case"][1:]) for one in known if one["case"][0] == name}
            for one in _cases(name, source, chosen, done):
                known.append(one)
                file.write(json.dumps(one) + "\n")
                file.flush()
    groups = {name: [one for one in known if one["case"][0] == name] for name in SOURCES} | {"all": known}
    summary = {name: _summary(found) for name, found in groups.items() if found}
    chosen.output.write_text(json.dumps(summary, indent=1) + "\n")
    sys.stdout.write(_tables(summary))


def _cases(
    name: str, source: Source, chosen: argparse.Namespace, done: set[tuple[Any, ...]]
) -> Iterator[dict[str, Any]]:
    """What was found in each fracture of a CT."""
    image, labels, affine = _read(chosen.data, source)
    values = sorted(set(np.unique(labels).tolist()) - {0})
    planned = [(v, kind, grade) for v in values for kind in KINDS for grade in GENANT_LOSS]
    # the first third of them has each vertebra in each form, in grades that take turns
    turn = [(values.index(v) + KINDS.index(kind) + grade) % 3 for v, kind, grade in planned]
    wanted = [planned[at] for at in np.argsort(turn, kind="stable")][: -(-len(planned) // chosen.every)]
    before: Measured = {}
    for vertebra, kind, grade in wanted:
        if (vertebra, kind, grade) in done:
            continue
        loss = float(np.random.default_rng([vertebra, KINDS.index(kind), grade]).uniform(*GENANT_LOSS[grade]))
        try:
            compression = as_asked(plan(labels, affine, vertebra, kind, loss), labels, affine, vertebra)
        except ValueError:
            continue
        before = before or _measured(image, labels, affine, chosen.mask_alone)
        pair = [MetaTensor(torch.from_numpy(one)[None], affine=torch.from_numpy(affine)) for one in (image, labels)]
        broken, named = FractureVertebra(vertebra, kind, loss)(*pair)
        found = _measured(broken[0].numpy(), named[0].numpy(), affine, chosen.mask_alone)
        lost = [compression.lost_mm(q) for q in (EDGE, 0.0, -EDGE)]
        heights, deformity, _ = found.get(vertebra, (None, None, 0.0))
        old = before.get(vertebra, (None, None, 0.0))[0]
        others = [one for v, (_, one, _) in found.items() if v != vertebra and one is not None]
        yield {
            "case": [name, vertebra, kind, grade],
            "loss": loss,
            "loss_in_ct": _share_of(kind, lost, old),
            "found": _told(deformity),
            "neighbours as before": _told(_with_neighbours(vertebra, found, before)),
            "own heights known": _against_itself(heights, old),
            "off_mm": _off(heights, old, lost),
            "off_mask_mm": _off(heights, compression.body.heights, lost),
            "others": [len(others), sum(one.grade > 0 for one in others)],
        }


def _read(data: Path, source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT, vertebrae and voxel-to-RAS matrix of the part that is read."""
    image, labels = nib.load(data / source.image), nib.load(data / source.labels)
    numbers = np.asarray(labels.dataobj[source.part]).astype(np.uint8)
    numbers[(numbers < source.values[0]) | (numbers > source.values[1])] = 0
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [one.start or 0 for one in source.part]
    affine[:3, :3] *= [one.step or 1 for one in source.part]
    return np.asarray(image.dataobj[source.part], np.float32), numbers, affine


def _measured(image: np.ndarray, labels: np.ndarray, affine: np.ndarray, mask_alone: bool) -> Measured:
    """Heights, deformity and uncertainty by value of the label map, of what is told apart in its mask."""
    found = split_vertebrae((labels > 0).astype(np.uint8), affine)
    bodies = measured_bodies(found.numbers, affine, found.count, image=None if mask_alone else image)
    heights = [None if one.body is None else one.body.heights for one in bodies]
    unsure = [one.uncertainty_mm for one in bodies]
    graded = deformities(heights, [False] * found.count, unsure)
    values = [int(np.bincount(labels[found.numbers == 101 + at]).argmax()) for at in range(found.count)]
    return dict(zip(values, zip(heights, graded, unsure, strict=True), strict=True))


def _told(deformity: Deformity | None) -> list[Any]:
    return [None, "not measured", None] if deformity is None else _as_told(deformity.kind, deformity.loss)


def _as_told(kind: str | None, loss: float) -> list[Any]:
    return [grade_of(loss), kind if kind and grade_of(loss) else "none", loss]


def _with_neighbours(vertebra: int, found: Measured, before: Measured) -> Deformity | None:
    """The deformity if all others had the heights of the CT before: the simulator stretches those further on."""
    order = list(found)
    if vertebra not in order:
        return None
    heights = [found[v][0] if v == vertebra else before.get(v, (None, None, 0.0))[0] for v in order]
    unsure = [found[v][2] for v in order]
    return deformities(heights, [False] * len(order), unsure)[order.index(vertebra)]


def _against_itself(heights: Heights | None, old: Heights | None) -> list[Any]:
    """Type and grade against the body's own heights before, which nobody knows of a patient: the error of measuring."""
    if heights is None or old is None:
        return _told(None)
    left = np.array(list(vars(heights).values())) / list(vars(old).values())
    kind, loss, _ = best_form(left, 0.0)
    return _as_told(kind, loss)


def _share_of(kind: Kind, lost: Sequence[float], old: Heights | None) -> float | None:
    """What the simulator took as a share of the heights measured before, where its own are those of the mask."""
    if old is None:
        return None
    before = list(vars(old).values())
    if kind == "crush":
        return sum(lost) / sum(before)
    at = 0 if kind == "wedge" else 1
    return lost[at] / before[at]


def _off(heights: Heights | None, old: Heights | None, lost: Sequence[float]) -> list[float]:
    """How far the heights are from the ones before less what the simulator took, mm."""
    if heights is None or old is None:
        return []
    pairs = zip(vars(heights).values(), vars(old).values(), lost, strict=True)
    return [abs(one - (before - less)) for one, before, less in pairs]


def _summary(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares with their intervals, and errors, of cases."""
    shares = {}
    for way in WAYS:
        shares[way] = {"type": _wilson([one[way][1] == one["case"][2] for one in cases])}
        for truth in ("loss", "loss_in_ct"):
            known = [one for one in cases if one[truth] is not None]
            far = [one for one in known if all(abs(one[truth] - least) > BORDER for least, _ in GENANT_LOSS.values())]
            for what, some in ((truth, known), (f"{truth}, off the limits", far)):
                shares[way][what] = _wilson([one[way][0] == grade_of(one[truth]) for one in some])
    confusion = [
        [sum(one["case"][3] == made and one["found"][0] == found for one in cases) for found in (0, 1, 2, 3, None)]
        for made in GENANT_LOSS
    ]
    types = [
        [sum(one["case"][2] == made and one["found"][1] == found for one in cases) for found in ("none", *KINDS)]
        for made in KINDS
    ]
    errors = {key: _errors([off for one in cases for off in one[key]]) for key in ("off_mm", "off_mask_mm")}
    others = np.sum([one["others"] for one in cases], axis=0).tolist()
    return {"cases": len(cases), "shares": shares, "grades": confusion, "types": types, **errors, "others": others}


def _wilson(right: Sequence[bool]) -> list[float]:
    """Right, of how many, and the 95 % interval of the share (Wilson, 1927)."""
    n, k, z = len(right), sum(right), 1.96
    if not n:
        return [0, 0, 0.0, 1.0]
    middle, half = (k + z * z / 2) / (n + z * z), z / (n + z * z) * float(np.sqrt(k * (n - k) / n + z * z / 4))
    return [k, n, middle - half, middle + half]


def _errors(off: Sequence[float]) -> list[float]:
    """Mean, 95th percentile and worst."""
    return [float(np.mean(off)), float(np.quantile(off, 0.95)), float(np.max(off))] if off else []


def _share(one: Sequence[float]) -> str:
    return f"{one[0]}/{one[1]} ({one[2]:.2f}–{one[3]:.2f})"


def _tables(summary: dict[str, Any]) -> str:
    """The summary in Markdown."""
    columns = ("loss", "loss, off the limits", "loss_in_ct", "loss_in_ct, off the limits", "type")
    titles = ("grade", "2 % off the limits", "grade by the CT's heights", "2 % off the limits", "type")
    lines = [f"| CT | graded by | {' | '.join(titles)} |", f"|{' --- |' * 7}"]
    for name, one in summary.items():
        for way, found in one["shares"].items():
            lines.append(f"| {name} | {way} | {' | '.join(_share(found[column]) for column in columns)} |")
    lines += ["", "| CT | heights off, mm: mean, 95 %, worst | against the mask's | false grades of others |"]
    lines.append("| --- | --- | --- | --- |")
    for name, one in summary.items():
        off, mask = (", ".join(f"{value:.1f}" for value in one[key]) for key in ("off_mm", "off_mask_mm"))
        lines.append(f"| {name} | {off} | {mask} | {one['others'][1]}/{one['others'][0]} |")
    lines += ["", "| made | found 0 | 1 | 2 | 3 | not measured |", "| --- | --- | --- | --- | --- | --- |"]
    for made, row in zip(GENANT_LOSS, summary["all"]["grades"], strict=True):
        lines.append(f"| grade {made} | {' | '.join(map(str, row))} |")
    lines += ["", f"| made | found none | {' | '.join(KINDS)} |", "| --- | --- | --- | --- | --- |"]
    for kind, row in zip(KINDS, summary["all"]["types"], strict=True):
        lines.append(f"| {kind} | {' | '.join(map(str, row))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
