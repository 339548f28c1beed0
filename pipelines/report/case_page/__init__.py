"""The page of one case: its image with the mask, in three planes and 3D, and all that was measured, in one file."""

from radseg.pipelines.report.case_page.page import CasePage

__all__ = ["CasePage"]
