"""The verb `segment`, with the cases worked on by a Ray cluster."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import radseg.bundles
from radseg.pipelines.dicom_out.send import is_archive
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.store.url import is_remote
from radseg.pipelines.scale.ray_actor import Order, with_segmenter
from radseg.pipelines.scale.ray_connection import LOCAL, check, connected
from radseg.pipelines.scale.ray_driver import RayDriver
from radseg.pipelines.scale.ray_seats import Seats, seats_for
from radseg.pipelines.segment import workflow_of
from radseg.pipelines.segmenter import Batch, Segmenter


def segment_on_ray(
    bundle: str | Path,
    inputs: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    address: str,
    trust_config: bool = False,
    **overrides: Any,
) -> Batch:
    """Segments every usable image in `inputs` as `segment` does, with the same files as a result, on a Ray cluster.

    A process on each GPU holds the bundle; without GPUs there are `workers` of them, which share the CPUs. This process
    looks for the cases and writes the manifest. Inputs and results must be in folders that all nodes see under the same
    path; only on "local" may they be zips and URLs too.

    Args:
        bundle: name or folder.
        inputs: files or folders.
        output_dir: as in `segment`.
        address: "local" for a Ray of this machine alone, which ends with the batch; "auto" or "HOST:PORT" for the
            cluster that this machine is a node of.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values; `device` "cpu" leaves GPUs alone.

    Raises:
        RadsegError: as `segment`; a ConfigError too when Ray isn't installed, the cluster can't be joined, or its nodes
            have another radseg, other weights or other folders.
    """
    paths = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if address != LOCAL:
        for path in [*paths, *([] if is_archive(output_dir) else [output_dir])]:
            if is_remote(path):
                advice = "copy or mount it to a folder that all nodes share, or use --ray local"
                raise ConfigError(f"{path}: a Ray cluster reads and writes folders only; {advice}")
    check(address)
    device, workers = str(overrides.get("device", "auto")), int(overrides.get("workers", 1))
    if workers < 1:
        raise ConfigError(f"workers is {workers}; at least one case at a time must be worked on")
    # this process runs no network
    mine = {**overrides, "device": "cpu", **({"runtime": "auto"} if "runtime" in overrides else {})}
    workflow = workflow_of(bundle, paths, output_dir, trust_config=trust_config, **mine)

    def run(segmenter: Segmenter) -> Batch:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with connected(address, max(cores, workers)) as ray:
            seats = seats_for([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, device)
            order = _order(segmenter, seats)
            driver = RayDriver(ray, seats, order, shared=address != LOCAL)
            try:
                return segmenter.run(driver)
            finally:
                driver.close(segmenter.worker)

    def _order(segmenter: Segmenter, seats: Seats) -> Order:
        name = str(bundle) if str(bundle) in radseg.bundles.names() else str(Path(bundle).absolute())
        where = str(segmenter.destination.url or segmenter.output_dir.absolute())
        theirs = {**overrides, "output_dir": where, "device": seats.device, "workers": 1, "progress": False}
        if segmenter.dicom_out.send_to is not None:
            theirs["send_to"] = segmenter.dicom_out.send_to
        threads = max(1, torch.get_num_threads() // seats.count if address == LOCAL else seats.cpus)
        return Order(name, theirs, trust_config, segmenter.output_dir.absolute(), Path.cwd(), threads)

    batch: Batch = with_segmenter(workflow, run)
    return batch
