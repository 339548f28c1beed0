"""Stands in for pydicom-seg, which breaks on pydicom 3: its maintained copy under the name that MONAI Label imports."""

from pydicom_seg_rb import (
    FractionalWriter,
    MultiClassReader,
    MultiClassWriter,
    SegmentReader,
    __version__,
    template,
)

__all__ = ["FractionalWriter", "MultiClassReader", "MultiClassWriter", "SegmentReader", "__version__", "template"]
