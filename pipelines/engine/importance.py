"""How much each voxel of a window counts where windows overlap: a gaussian, cut off from below."""

from functools import lru_cache

import torch

SIGMA_PER_VOXEL = 0.125
LEAST = 1e-3


@lru_cache(maxsize=8)
@torch.inference_mode(mode=False)
def gaussian_importance(window: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Weights of a window's voxels, float32, the same as MONAI's `compute_importance_map(window, "gaussian")`.

    Sigma is an eighth of the window along each axis, as in Isensee et al. 2021 (nnU-Net); no weight is below 0.001. The
    map is kept and shared between calls: nobody may change it.
    """
    weights = torch.ones((), device=device)
    for size in window:
        distance = torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2
        weights = weights.unsqueeze(-1) * torch.exp(distance**2 / (-2 * (SIGMA_PER_VOXEL * size) ** 2))
    return weights.clamp_(min=LEAST)
