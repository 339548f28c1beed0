"""The two functions that MONAI Label takes from torchvision: pictures side by side, and a picture as a file."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image


def make_grid(
    tensor: torch.Tensor | list[torch.Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> torch.Tensor:
    """Pictures side by side, `nrow` in a row: (B, C, H, W), (C, H, W) or (H, W) becomes (3 or C, rows, columns).

    Args:
        tensor: pictures, of one size; a single channel is repeated to three.
        nrow: pictures in a row.
        padding: pixels between pictures and around them; a single picture gets none.
        normalize: stretches values to 0…1.
        value_range: what is stretched; without it from the lowest to the highest value.
        scale_each: stretches each picture by its own values.
        pad_value: of the pixels between.
    """
    if isinstance(tensor, list):
        tensor = torch.stack(tensor)
    pictures_bchw = tensor.reshape((1,) * (4 - tensor.ndim) + tuple(tensor.shape))
    if pictures_bchw.shape[1] == 1:
        pictures_bchw = pictures_bchw.expand(-1, 3, -1, -1)
    pictures_bchw = pictures_bchw.clone()
    if normalize:
        pictures_bchw = pictures_bchw.float()
        for part in pictures_bchw if scale_each else [pictures_bchw]:
            low, high = value_range or (float(part.min()), float(part.max()))
            part.clamp_(low, high).sub_(low).div_(max(high - low, 1e-5))
    count, channels, height, width = pictures_bchw.shape
    if count == 1:
        return pictures_bchw[0]
    columns = min(nrow, count)
    rows = -(-count // columns)
    height, width = height + padding, width + padding
    grid = pictures_bchw.new_full((channels, height * rows + padding, width * columns + padding), pad_value)
    for number, picture in enumerate(pictures_bchw):
        top, left = padding + number // columns * height, padding + number % columns * width
        grid[:, top : top + picture.shape[1], left : left + picture.shape[2]] = picture
    return grid


def save_image(tensor: torch.Tensor | list[torch.Tensor], fp: str | Path) -> None:
    """Writes pictures of values 0…1, put side by side by `make_grid`, to a file of the kind that its name says."""
    grid_chw = make_grid(tensor).mul(255).add(0.5).clamp(0, 255).to(torch.uint8).cpu()
    Image.fromarray(np.ascontiguousarray(grid_chw.permute(1, 2, 0).numpy())).save(fp)
