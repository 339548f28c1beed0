"""The verbs below `data`: published datasets in, sample data and simulated X-rays out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from radseg.pipelines.cli.options import Quiet, Verbose
from radseg.pipelines.cli.verb import say, verb
from radseg.pipelines.overrides import numbers

LAYOUTS = "pxr150, covid-radiography, kaggle-covid-ct, folder-of-pairs, msd, nnunet, verse or totalsegmentator."

data = typer.Typer(
    no_args_is_help=True, help="Import and merge datasets; look one over; make sample data and simulated X-rays."
)


@data.command("sample")
@verb
def data_sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder.")] = Path("sample_data"),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Make the small synthetic CTs and X-rays that training and the demo use.

    Example: `radseg data sample -o sample_data`
    """
    from radseg.pipelines.datasets import sample

    folder = sample(output, progress=not quiet)
    if not quiet:
        print(f"sample data in {folder}")
    return 0


@data.command("check")
@verb
def data_check(
    dataset_dir: Annotated[str, typer.Argument(help="Folder or URL of datalist.json and images.")],
    datalist: Annotated[str | None, typer.Option(help="Datalist, if it isn't DATASET_DIR/datalist.json.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Look for files that can't be read, grids that differ, empty masks and leaks between splits.

    Example: `radseg data check sample_data/spine`
    """
    from radseg.pipelines.datasets import check

    report = check(dataset_dir, datalist, progress=not quiet)
    for problem in report.problems:
        say(f"problem: {problem}")
    if not quiet:
        for note in report.notes:
            print(f"note: {note}")
        print(", ".join(f"{count} {split}" for split, count in report.items.items()))
        print(
            "label values: " + ", ".join(f"{value} in {n} images" for value, n in sorted(report.label_values.items()))
        )
    return 1 if report.problems else 0


@data.command("import")
@verb
def data_import(
    layout: Annotated[str, typer.Argument(help=LAYOUTS)],
    source: Annotated[str, typer.Argument(metavar="DIR", help="The dataset as it was downloaded; folder or URL.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="New folder or URL for datalist.json.")],
    split: Annotated[str, typer.Option(help="patient; slice or image as in the papers; published.")] = "patient",
    ratios: Annotated[str | None, typer.Option(help="Such as 70/10/20; the layout's own otherwise.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Folds of a cross-validation.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images, so that OUT stands on its own.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier import.")] = False,
    images: Annotated[str | None, typer.Option(help="pxr150, folder-of-pairs: the images' folder in DIR.")] = None,
    labels: Annotated[str | None, typer.Option(help="pxr150, folder-of-pairs: the masks' folder in DIR.")] = None,
    label_suffix: Annotated[str | None, typer.Option(help="folder-of-pairs: a mask's ending, such as _mask.")] = None,
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            help="folder-of-pairs: regular expression; its group (…), or all that it matches, is the patient."
        ),
    ] = None,
    patients: Annotated[
        Path | None, typer.Option(help="folder-of-pairs: CSV of image,patient, or CSV:COLUMN:COLUMN.")
    ] = None,
    label_map: Annotated[
        Path | None, typer.Option(help="folder-of-pairs: CSV of value,label; NIfTI masks get these labels.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="covid-radiography: such as COVID,Normal.")] = None,
    fractures: Annotated[
        Path | None, typer.Option(help="verse, totalsegmentator: CSV of case,vertebra; these get label 2.")
    ] = None,
    numbered: Annotated[
        bool | None,
        typer.Option("--numbered", help="verse, totalsegmentator: keep vertebrae apart, for simulated fractures."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write OUT/datalist.json for a dataset in a published layout, split by patient.

    Example: `radseg data import covid-radiography COVID-19_Radiography_Dataset lungs`
    """
    from radseg.pipelines.import_dataset import import_dataset

    of_layout: dict[str, Any] = {
        "images": images, "labels": labels, "label_suffix": label_suffix, "patient_pattern": patient_pattern,
        "patients": patients, "label_map": label_map, "classes": classes, "fractures": fractures, "numbered": numbered,
    }  # fmt: skip
    report = import_dataset(
        layout, source, output, split=split, ratios=ratios, folds=folds, seed=seed, copy=copy, overwrite=overwrite,
        progress=not quiet, **{key: value for key, value in of_layout.items() if value is not None},
    )  # fmt: skip
    for warning in (*report.warnings, *([report.leak] if report.leak else [])):
        say(f"warning: {warning}")
    if not quiet:
        counts = (f"{n} {name} ({report.patients[name]} patients)" for name, n in report.images.items())
        print(f"{report.datalist}: {', '.join(counts)}; {report.made}")
    return 0


@data.command("merge")
@verb
def data_merge(
    datasets: Annotated[list[Path], typer.Argument(help="Dataset folders, each with a datalist.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for datalist.json.")],
    train_only: Annotated[
        list[Path] | None, typer.Option(help="A dataset that is in training in every fold; may be repeated.")
    ] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Although labels or kinds of image differ.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier merge.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write OUT/datalist.json with the images of several datasets, which stay where they are.

    Example: `radseg data merge chest_xrays --train-only simulated -o lungs`
    """
    from radseg.pipelines.merge_datasets import merge_datasets

    merged = merge_datasets(datasets, output, train_only=train_only or (), mixed=mixed, overwrite=overwrite)
    if not quiet:
        counts = ", ".join(f"{count} {split}" for split, count in merged.images.items())
        print(f"{merged.datalist}: {counts}; {merged.always_train} in training in every fold")
    return 0


@data.command("drr")
@verb
def data_drr(
    source: Annotated[str, typer.Argument(help="A CT, or a folder with surfaces in left/, right/ and sacrum/.")],
    output: Annotated[str, typer.Option("--output", "-o", help="New folder or URL.")],
    mask: Annotated[str | None, typer.Option(help="The CT's label image.")] = None,
    labels: Annotated[str | None, typer.Option(help="The values of it that count, such as 10,11,12.")] = None,
    count: Annotated[int, typer.Option(min=1, help="X-rays per CT or pelvis.")] = 1,
    size: Annotated[int, typer.Option(help="Pixels of the longer side.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of pose, beam, tissue and noise.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Compute simulated X-rays with exact masks from a CT or from surfaces of bones.

    Example: `radseg data drr ct.nii.gz --mask lobes.nii.gz --labels 10,11,12,13,14 -o simulated`
    """
    from radseg.pipelines.simulate.radiographs import make_radiographs

    values = numbers("--labels", labels)
    made = make_radiographs(
        source, output, mask=mask, labels=values, count=count, size=size, seed=seed, device=device, progress=not quiet
    )
    if not quiet:
        counts = ", ".join(f"{count} {split}" for split, count in made.items.items())
        print(f"simulated X-rays in {made.folder}: {counts}; the masks cover {made.mask}")
        if 0 in made.items.values():
            print("note: fewer than three patients can't be split, all of them train; validation needs others")
    return 0


@data.command("ct")
@verb
def data_ct(
    source: Annotated[str, typer.Argument(help="A folder with surfaces in left/, right/ and sacrum/.")],
    output: Annotated[str, typer.Option("--output", "-o", help="New folder or URL.")],
    count: Annotated[int, typer.Option(min=1, help="CTs per pelvis.")] = 1,
    spacing: Annotated[float, typer.Option(help="Of the voxels, mm.")] = 1.2,
    seed: Annotated[int, typer.Option(min=0, help="Of build, tissue, densities and noise.")] = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Simulate CTs of pelvises with numbered vertebrae from surfaces of bones, to train spine with.

    Example: `radseg data ct surfaces -o simulated --spacing 1.5`
    """
    from radseg.pipelines.simulate.pelvis_cts import make_pelvis_cts

    made = make_pelvis_cts(source, output, count=count, seed=seed, spacing_mm=spacing, progress=not quiet)
    if not quiet:
        counts = ", ".join(f"{count} {split}" for split, count in made.items.items())
        print(
            f"simulated CTs in {made.folder}: {counts}; the masks number L3 to L5, hip bones and sacrum are background"
        )
    return 0
