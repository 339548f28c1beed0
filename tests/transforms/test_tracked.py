"""Metadata go in and out of a transform, voxels stay where they are."""

import numpy as np
import torch
from monai.data import MetaTensor, set_track_meta

from radseg.transforms.tracked import like, plain, tracked


def test_a_volume_in_fortran_order_is_not_copied() -> None:
    image = MetaTensor(torch.rand(1, 4, 3, 2).permute(0, 3, 2, 1), affine=torch.eye(4), meta={"units": "HU"})
    assert tracked(image) is image
    assert plain(image).data_ptr() == image.data_ptr()
    out = like(plain(image), image)
    assert isinstance(out, MetaTensor)
    assert out.data_ptr() == image.data_ptr()
    assert out.stride() == image.stride()
    assert out.meta["units"] == "HU"


def test_what_isnt_tracked_becomes_so_and_back() -> None:
    assert isinstance(tracked(torch.zeros(1, 2, 2)), MetaTensor)
    assert isinstance(tracked(np.zeros((1, 2, 2))), MetaTensor)  # type: ignore[arg-type]
    set_track_meta(False)
    try:
        assert type(tracked(MetaTensor(torch.zeros(1, 2, 2)))) is torch.Tensor
    finally:
        set_track_meta(True)
    assert type(like(torch.zeros(1), torch.ones(1))) is torch.Tensor
