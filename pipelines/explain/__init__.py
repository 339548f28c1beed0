"""Where a network looked for a mask: heat maps of any bundle on the grid of the source, with a test of their worth."""

from radseg.pipelines.explain.explain import Explanations, explain

__all__ = ["Explanations", "explain"]
