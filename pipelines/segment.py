"""The verb `segment`: images go in, a folder a case comes out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radseg.pipelines.bundle_loader import load_workflow, run_workflow
from radseg.pipelines.io.storage_url import absolute
from radseg.pipelines.segmenter import Batch

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
            `uncertainty.nii.gz` (or `.png`), and `manifest.jsonl`.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values, such as `weights`, `device`, `series`, `overwrite`, `workers`.

    Raises:
        RadsegError: the config, the weights or an override can't be used, or an input doesn't exist. A bad case
            doesn't raise: it is in the result.
    """
    paths = [inputs] if isinstance(inputs, str | Path) else inputs
    given = {"dataset_dir": [absolute(path) for path in paths], "output_dir": output_dir, **overrides}
    workflow = load_workflow(bundle, "inference", given, trust_config)
    batch: Batch = run_workflow(workflow)
    return batch
