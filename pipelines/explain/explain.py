"""The verb `explain`: images go in; where the network looked for their masks comes out, a folder a case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from radseg.pipelines.bundle_loader import run_workflow
from radseg.pipelines.case_folder import case_folder
from radseg.pipelines.cases import Case, Refusal
from radseg.pipelines.console import tracked
from radseg.pipelines.errors import ConfigError, InputError, one_line
from radseg.pipelines.explain.explainer import Explainer, Question
from radseg.pipelines.explain.truth import Truths, relabelling
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.io.store.local_copy import called, with_urls
from radseg.pipelines.segment import workflow_of
from radseg.pipelines.segmenter import Segmenter

_NOT_HERE = ("output_type", "seg_type", "send_to", "deidentify")
_FILES = ("mask.nii.gz", "mask.png", "explain.png", "explain.json")


@dataclass
class Explanations:
    """How the cases ended.

    Attributes:
        output_dir: where the case folders are; of a URL, the local folder that they are uploaded from.
        destination: where they are for the user: the folder, or the URL.
        done: what stands in `explain.json`, by case.
        failed: name and reason of each case that failed.
        refused: source and reason of each input that isn't a case.
    """

    output_dir: Path
    destination: str
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every case is there and there was at least one."""
        return bool(self.done) and not self.failed


def explain(
    bundle: str | Path,
    inputs: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    method: str = "gradcam",
    layer: str | None = None,
    label: str | int | None = None,
    truth: str | Path | None = None,
    target: str | None = None,
    sanity: bool = False,
    trust_config: bool = False,
    **overrides: Any,
) -> Explanations:
    """Shows which places in each image led to its mask.

    Of a volume the windows around the largest piece of the label are explained, or of a 2D network the slices that it
    reaches; elsewhere the map is 0. The mask is the one that `segment` gives.

    Args:
        bundle: name or folder.
        inputs: files or folders or their URLs, as for `segment`.
        output_dir: gets `<case>/heatmap.nii.gz` (or `.png`, of a picture; of each attention gate
            `heatmap_level1.nii.gz` …) from 0 to 1, `mask.nii.gz`, `explain.png` and `explain.json`.
        method: gradcam (Selvaraju et al. 2017) or gradcam++ (Chattopadhay et al. 2018), of the logits summed over a
            region (Vinogradova et al. 2020); or attention, the weights of the network's attention gates.
        layer: whose features are weighed; None takes the bundle's `explain_layer`.
        label: name or number; None takes the one with most voxels.
        truth: a mask of the only image, or a folder of masks named as the images.
        target: "prediction" or "truth": the region; None is the truth where there is one.
        sanity: also randomise the network's weights part by part and compare the maps (Adebayo et al. 2018).
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values, such as `weights`, `device`, `overwrite`.

    Raises:
        RadsegError: the config, the weights, the layer or an override can't be used, or an input doesn't exist. A bad
            case doesn't raise: it is in the result.
    """
    for key in _NOT_HERE:
        if overrides.get(key) is not None:
            raise ConfigError(f"explain writes no DICOM and sends nothing: leave out --{key}, or use radseg segment")
    if target == "truth" and truth is None:
        raise ConfigError("target truth needs the truth: give --truth MASK or a folder of masks")
    if layer is None and "explain_layer" in overrides:
        layer = overrides.pop("explain_layer")
    workflow = workflow_of(bundle, inputs, output_dir, trust_config=trust_config, **overrides)

    def run(segmenter: Segmenter) -> Explanations:
        named = layer or workflow.parser.get("explain_layer")
        explainer = Explainer(segmenter.worker, Question(method, named, label, target, sanity))
        found = list(segmenter.cases)
        cases = [one for one in found if isinstance(one, Case)]
        relabel = None if truth is None else relabelling(bundle, overrides, trust_config)
        result = Explanations(segmenter.output_dir, str(segmenter.destination))
        result.refused = {called(one.source): with_urls(one.reason) for one in found if isinstance(one, Refusal)}
        truths = Truths(truth, relabel, cases)
        for case in tracked(cases, "explaining", segmenter.progress):
            try:
                result.done[case.name] = _explain(case, explainer, truths, segmenter.destination)
            except ConfigError:  # of the layer: no other case would do better
                raise
            except Exception as error:
                result.failed[case.name] = with_urls(one_line(error))
        return result

    explanations: Explanations = run_workflow(_Using(workflow, run))
    return explanations


def _explain(case: Case, explainer: Explainer, truths: Truths, destination: Destination) -> dict[str, Any]:
    """Explains a case into its folder, which is there whole or not at all."""
    there = destination.names(case.name)
    where = destination.local / case.name
    if there is not None and (
        not there or any(name not in _FILES and not name.startswith("heatmap") for name in there)
    ):
        raise InputError(f"{where}: holds files that aren't an explanation; choose another output")
    if there is not None and not explainer.worker.overwrite:
        raise InputError(f"{where}: there is already an explanation; use --overwrite")
    try:
        with case_folder(destination.local, case.name) as folder:
            record = explainer.explain(case, truths, folder)
    except OSError as error:
        reason = f"can't be written ({error.strerror}); free some space or choose another output"
        raise ConfigError(f"{destination}: {reason}") from error
    destination.publish_case(case.name, last="explain.json")
    return record


class _Using:
    """A workflow whose run is something done with its segmenter."""

    def __init__(self, workflow: ConfigWorkflow, use: Callable[[Segmenter], Explanations]) -> None:
        self.workflow = workflow
        self.use = use
        self.initialize = workflow.initialize
        self.finalize = workflow.finalize

    def run(self) -> list[Explanations]:
        segmenter = self.workflow.parser.get_parsed_content("evaluator")
        if not isinstance(segmenter, Segmenter):
            raise ConfigError("this bundle's evaluator isn't radseg's Segmenter, so it can't be explained")
        return [self.use(segmenter)]
