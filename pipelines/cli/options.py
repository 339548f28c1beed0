"""Options that several verbs share."""

from typing import Annotated

import typer

OVERRIDES = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Settings of a command that takes config overrides."""

Bundle = Annotated[str, typer.Argument(help="Bundle's name (spine, lung_ct, lung_xray, pelvis_xray) or folder.")]
Rest = Annotated[
    list[str] | None, typer.Argument(metavar="[--KEY VALUE]...", help="Config overrides, such as --max_epochs 3.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Weights = Annotated[str | None, typer.Option(help="State dict to use instead of the bundle's own; file or URL.")]
DatasetDir = Annotated[
    str | None, typer.Option("--dataset-dir", "--dataset_dir", "-d", help="Folder or URL of datalist.json and images.")
]
OutputDir = Annotated[str | None, typer.Option("--output", "--output_dir", "-o", help="Folder or URL for the results.")]
Precision = Annotated[str | None, typer.Option(help="exact (float32, the default) or fast (bfloat16 where there is).")]
Runtime = Annotated[str | None, typer.Option(help="auto, torch, compiled, openvino or cuda.")]
Tta = Annotated[str | None, typer.Option(help="flips: average over mirror images; also says how sure the mask is.")]
Folds = Annotated[str | None, typer.Option(help="Such as 0,1,2: average the networks in WEIGHTS/fold_N/model.pt.")]
Temperature = Annotated[
    str | None, typer.Option(help="Number, or temperature.json of evaluate --calibrate: how sure, not which label.")
]
Threshold = Annotated[
    float | None, typer.Option(help="All but spine: probability from which a pixel is labelled; 0.5 otherwise.")
]
Fold = Annotated[
    int | None, typer.Option(help='Validate on the datalist\'s items with this "fold"; train on all others.')
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show warnings, logs and tracebacks.")]
TrustConfig = Annotated[bool, typer.Option("--trust-config", help="Run a bundle folder that isn't radseg's own.")]
SendTo = Annotated[
    str | None, typer.Option(help="Archive for the DICOM files: dicom://AET@HOST:PORT or dicomweb+https://HOST/PATH.")
]
