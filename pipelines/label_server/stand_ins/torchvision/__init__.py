"""Stands in for torchvision, whose builds need CUDA's torch: `utils` holds what MONAI Label imports of it."""
