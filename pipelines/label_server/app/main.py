"""Where MONAI Label looks for the app."""

from radseg.pipelines.label_server.application import Application

__all__ = ["Application"]
