"""Finds where a network needs to look: the body, the lungs, the spine."""

from radseg.pipelines.engine.locate.body import BodyFinder
from radseg.pipelines.engine.locate.finder import Finder
from radseg.pipelines.engine.locate.lungs import LungFinder
from radseg.pipelines.engine.locate.region import Found, Region
from radseg.pipelines.engine.locate.spine import SpineFinder

__all__ = ["BodyFinder", "Finder", "Found", "LungFinder", "Region", "SpineFinder"]
