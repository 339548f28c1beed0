"""Directions of slices for property tests."""

from typing import Any

import numpy as np
from hypothesis import strategies as st


@st.composite
def directions(draw: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Two perpendicular unit vectors in any direction, of a slice's rows and columns."""
    quaternion = np.array(draw(st.lists(st.floats(-1, 1), min_size=4, max_size=4)))
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = np.array([1.0, 0.0, 0.0, 0.0])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    row = (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w))
    column = (2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w))
    return row, column
