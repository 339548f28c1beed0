"""The density of a body's core is that of its spongy bone, without cortex, arch or anything outside."""

import numpy as np
from numbered_spine import cylinders
from scipy import ndimage

from radseg.pipelines.measure.vertebrae import core_density, measured_bodies
from radseg.transforms.vertebrae.endplates import Body


def body_of(numbers: np.ndarray, affine: np.ndarray) -> Body:
    body = measured_bodies(numbers, affine, 3)[1].body
    assert body is not None
    return body


def test_cortex_arch_and_surroundings_do_not_count() -> None:
    spine = cylinders(3)
    numbers = spine.labels.astype(np.int16)
    bone = numbers == 102
    image = np.full(bone.shape, -1000.0, np.float32)
    image[bone] = 900.0
    inner = ndimage.distance_transform_edt(bone, (1.5, 1.5, 1.5)) > 2.9
    inner[:, :37] = False
    image[inner] = 120.0
    core = core_density(image, bone, body_of(numbers, spine.affine), spine.affine)
    assert core is not None
    assert core.mean_hu == 120.0
    assert core.sd_hu == 0.0
    assert core.voxels > 500


def test_noise_averages_out() -> None:
    spine = cylinders(3)
    numbers = spine.labels.astype(np.int16)
    core = core_density(spine.image, numbers == 102, body_of(numbers, spine.affine), spine.affine)
    assert core is not None
    assert abs(core.mean_hu - 180) < 2
    assert 13 < core.sd_hu < 17


def test_a_body_as_thin_as_its_cortex_has_no_core() -> None:
    spine = cylinders(3)
    numbers = spine.labels.astype(np.int16)
    bone = numbers == 102
    thin = bone & (ndimage.distance_transform_edt(bone, (1.5, 1.5, 1.5)) < 2.5)
    assert core_density(spine.image, thin, body_of(numbers, spine.affine), spine.affine) is None
