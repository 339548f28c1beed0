"""Results as pictures and pages for people."""

from radseg.pipelines.report.preview import save_preview

__all__ = ["save_preview"]
