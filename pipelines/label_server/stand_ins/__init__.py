"""Modules that MONAI Label imports and that can't be installed beside what radseg needs.

Their folder goes first on the server's PYTHONPATH, which the processes that it trains in inherit. `torchvision`: its
builds want CUDA's torch and fail to import beside the CPU's; MONAI Label takes two picture functions from it.
`pydicom_seg`: its last release breaks on pydicom 3; a maintained copy has another name.
"""
