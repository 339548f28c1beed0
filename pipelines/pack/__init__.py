"""Bundles in the form of MONAI's ecosystem: `configs/`, `models/`, `docs/`, licence and requirements, folder or zip."""

from radseg.pipelines.pack.packing import pack
from radseg.pipelines.pack.unpacking import unpack

__all__ = ["pack", "unpack"]
