"""The verb `segment`: images go in, a folder a case comes out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from radseg.pipelines.bundle_loader import find_bundle, load_workflow, run_workflow
from radseg.pipelines.dicom_out.send import is_archive
from radseg.pipelines.io.store.url import absolute
from radseg.pipelines.segmenter import Batch
from radseg.pipelines.trained_with import warn_of_other_settings

__all__ = ["Batch", "segment"]


def segment(
    bundle: str | Path,
    inputs: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    trust_config: bool = False,
    **overrides: Any,
) -> Batch:
    """Segments every usable image in `inputs` as the bundle's inference.json says.

    Args:
        bundle: name or folder.
        inputs: files or folders or their URLs (DICOM, zip, NIfTI, NRRD, MHA; PNG for bundles that take it).
        output_dir: gets `<case>/mask.nii.gz` (or `mask.png`), `statistics.json`, `preview.png`, of several members
            `uncertainty.nii.gz` (or `.png`), the DICOM files that `output_type` names, with `report` the page
            `report.html`, and `manifest.jsonl`. The address of an archive (`dicom://…`, `dicomweb+https://…`) is taken
            as `send_to`, and the folder is `runs/<bundle>/masks` then.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values, such as `weights`, `device`, `series`, `overwrite`, `workers`,
            `output_type`, `send_to`, `report`, `with_identity`.

    Raises:
        RadsegError: the config, the weights or an override can't be used, or an input doesn't exist. A bad case
            doesn't raise: it is in the result.
    """
    batch: Batch = run_workflow(workflow_of(bundle, inputs, output_dir, trust_config=trust_config, **overrides))
    return batch


def workflow_of(
    bundle: str | Path,
    inputs: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    trust_config: bool = False,
    **overrides: Any,
) -> ConfigWorkflow:
    """What `segment` runs: the bundle's inference workflow, not yet initialised. Arguments and errors as there."""
    paths = [inputs] if isinstance(inputs, str | Path) else inputs
    if is_archive(output_dir):
        overrides = {"send_to": str(output_dir), **overrides}
        output_dir = Path("runs") / Path(bundle).name / "masks"
    given = {"dataset_dir": [absolute(path) for path in paths], "output_dir": output_dir, **overrides}
    workflow = load_workflow(bundle, "inference", given, trust_config)
    warn_of_other_settings(workflow, find_bundle(bundle, trust_config))
    return workflow
