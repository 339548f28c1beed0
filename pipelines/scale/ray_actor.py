"""The process on a cluster's node that holds the bundle and takes cases through it."""

import copy
import importlib.metadata
import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

from radseg.pipelines.bundle_loader import load_workflow, run_workflow
from radseg.pipelines.case_work import CaseWorker, Work
from radseg.pipelines.cases import Case
from radseg.pipelines.errors import ConfigError, RadsegError, one_line
from radseg.pipelines.segmenter import Segmenter


@dataclass(frozen=True)
class Order:
    """What every worker of a batch is told.

    Attributes:
        bundle: name or folder.
        overrides: config keys and values, without the inputs.
        trust_config: allow a bundle folder that isn't radseg's own.
        folder: where case folders are made: the output folder or, of a URL, the driver's local folder for it.
        start_dir: the driver's current folder, which relative paths start from.
        threads: of each worker.
        proof: a file of the driver's in the output folder, which a node that shares the folder sees; None on the
            driver's own machine.
    """

    bundle: str
    overrides: Mapping[str, Any]
    trust_config: bool
    folder: Path
    start_dir: Path
    threads: int
    proof: Path | None = None


@dataclass(frozen=True)
class Ready:
    """A worker that can take cases.

    Attributes:
        version: of radseg there.
        made_of: what its masks are made with; see `made_of`.
    """

    version: str
    made_of: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """How a case ended on a worker: its row, its outcome (see `Work`) and the manifest's lines, not yet written."""

    row: dict[str, Any]
    outcome: bool | str | None
    lines: list[Mapping[str, Any]]


class CaseActor:
    """Holds a bundle and takes cases through its steps; on Ray, an actor.

    The network works on one case at a time; meanwhile the next one is read and the last one written.

    Args:
        order: what to load and where to write.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.predicting = threading.Lock()
        self.worker: CaseWorker | None = None

    def set_up(self) -> Ready | str:
        """Loads the bundle; what went wrong, in one line, if it can't be used on this node."""
        # what libraries say would stay in Ray's logs, and may name a patient
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        order = self.order
        with suppress(OSError):
            os.chdir(order.start_dir)
        torch.set_num_threads(order.threads)
        try:
            if order.proof is not None and not order.proof.is_file():
                raise ConfigError(f"{order.folder}: is another folder there; choose an output that all nodes share")
            workflow = load_workflow(order.bundle, "inference", order.overrides, order.trust_config)
            workflow.parser.set([], "evaluator#cases")
            segmenter = with_segmenter(workflow, lambda segmenter: segmenter)
        except RadsegError as error:
            return f"{_node()}: {one_line(error)}"
        self.worker = segmenter.worker
        self.worker.destination.local = order.folder
        return Ready(importlib.metadata.version("radseg"), made_of(self.worker))

    def run(self, case: Case, earlier: Mapping[str, Any] | None) -> Ended:
        """Takes a case through all steps.

        Args:
            case: what to segment.
            earlier: its line in the manifest of an earlier run that finished it.
        """
        assert self.worker is not None
        torch.set_num_threads(self.order.threads)  # holds for the thread that calls it
        lines: list[Mapping[str, Any]] = []
        worker, work = copy.copy(self.worker), Work(case, earlier)
        worker.record = lines.append
        if self.order.proof is not None and not case.files[0].exists():
            worker.fail(work, f"{case.source}: not visible on {_node()}; use a folder that all nodes share, no zip")
        worker.read(work)
        with self.predicting:
            worker.predict(work)
        worker.write(work)
        return Ended(work.row, work.outcome, lines)


def with_segmenter(workflow: ConfigWorkflow, use: Callable[[Segmenter], Any]) -> Any:
    """Initialises an inference workflow and gives what `use` makes of its segmenter.

    Raises:
        ConfigError: the config, weights or an override can't be used, or its evaluator isn't radseg's.
        RadsegError: whatever `use` raises.
    """
    return run_workflow(_Using(workflow, use))


def made_of(worker: CaseWorker) -> dict[str, str]:
    """What must be the same on all nodes, lest the same case give different files on two of them."""
    same = ("bundle", "bundle_version", "weights_sha256", "recipe_sha256")
    return {**{key: str(worker.provenance[key]) for key in same}, "deidentification key": worker.dicom_out.hidden("")}


class _Using:
    """A workflow whose run is something done with its segmenter."""

    def __init__(self, workflow: ConfigWorkflow, use: Callable[[Segmenter], Any]) -> None:
        self.workflow = workflow
        self.use = use
        self.initialize = workflow.initialize
        self.finalize = workflow.finalize

    def run(self) -> list[Any]:
        segmenter = self.workflow.parser.get_parsed_content("evaluator")
        if not isinstance(segmenter, Segmenter):
            raise ConfigError("this bundle's evaluator isn't radseg's Segmenter; run it without --ray")
        return [self.use(segmenter)]


def _node() -> str:
    import ray

    return f"node {ray.util.get_node_ip_address()}"
