"""Batches beyond one process: the verb `segment` on a Ray cluster."""

from radseg.pipelines.scale.ray_batch import segment_on_ray

__all__ = ["segment_on_ray"]
