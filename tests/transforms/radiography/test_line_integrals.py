"""Line integrals: exact lengths in a box, both methods against brute force for any affine, exact shadows of masks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.transforms.radiography.cone_beam import VIEWS, ConeBeam
from radseg.transforms.radiography.line_integrals import Method, line_integrals, projected_mask

METHODS: tuple[Method, ...] = ("joseph", "siddon")


def affine_of(
    spacing: tuple[float, float, float], turn: tuple[float, float, float], shape: tuple[int, ...]
) -> np.ndarray:
    """Voxels turned by three angles in degrees, the volume's middle at the origin."""
    matrix = np.eye(3)
    for axis, degrees in enumerate(turn):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        one[first, first] = one[second, second] = cosine
        one[first, second], one[second, first] = -sine, sine
        matrix = one @ matrix
    affine = np.eye(4)
    affine[:3, :3] = matrix * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def brute_force(values: np.ndarray, affine: np.ndarray, beam: ConeBeam, samples: int = 12_000) -> np.ndarray:
    """Boxes sampled densely along each ray."""
    source = beam.source_ras.numpy()
    pixels = beam.pixel_centres_ras().numpy()
    to_voxels = np.linalg.inv(affine)
    shares = (np.arange(samples) + 0.5) / samples
    integrals = np.zeros(pixels.shape[:2])
    for index in np.ndindex(*integrals.shape):
        points = source + shares[:, None] * (pixels[index] - source)
        voxels = np.rint(points @ to_voxels[:3, :3].T + to_voxels[:3, 3]).astype(int)
        inside = ((voxels >= 0) & (voxels < values.shape)).all(axis=1)
        integrals[index] = values[tuple(voxels[inside].T)].sum() * np.linalg.norm(pixels[index] - source) / samples
    return integrals


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("view", "length_mm"), [("AP", 20 * 1.5), ("PA", 20 * 1.5), ("LL", 14 * 0.7), ("RL", 14 * 0.7)]
)
def test_the_central_ray_through_a_box_is_its_length_times_its_value(
    method: Method, view: str, length_mm: float
) -> None:
    shape, beam = (14, 20, 9), ConeBeam(1000, 900, (0, 0, 0), 5, 5, 0.01, view)
    affine = affine_of((0.7, 1.5, 3.0), (0, 0, 0), shape)
    integral = line_integrals(torch.full(shape, 0.25), affine, beam, method=method, dtype=torch.float64)
    assert abs(float(integral[2, 2]) - 0.25 * length_mm) < 1e-9


@pytest.mark.parametrize("turn", [0.0, 30.0, 45.0, 60.0, 90.0])
def test_a_turned_box_has_its_slanted_length(turn: float) -> None:
    shape, beam = (40, 40, 8), ConeBeam(1000, 900, (0, 0, 0), 3, 3, 1e-3, "AP")
    affine = affine_of((1.0, 1.0, 2.0), (0, 0, turn), shape)
    integral = line_integrals(torch.ones(shape), affine, beam, method="siddon", dtype=torch.float64)
    angle = math.radians(turn)
    assert abs(float(integral[1, 1]) - 40 / max(abs(math.cos(angle)), abs(math.sin(angle)))) < 1e-3


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(*[st.floats(0.8, 3)] * 3),
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.sampled_from(VIEWS),
    st.tuples(*[st.floats(-20, 20)] * 3),
)
def test_boxes_of_any_orientation_agree_with_brute_force(
    seed: int,
    spacing: tuple[float, float, float],
    turn: tuple[float, float, float],
    view: str,
    pose: tuple[float, float, float],
) -> None:
    values = np.random.default_rng(seed).uniform(0, 1, (6, 5, 7))
    affine = affine_of(spacing, turn, values.shape)
    beam = ConeBeam(80, 50, (0, 0, 0), 4, 5, 5.0, view, *pose)  # a wide cone: its rays have several main directions
    exact = line_integrals(values, affine, beam, method="siddon", dtype=torch.float64).numpy()
    step_mm = 110 / 12_000
    assert np.abs(exact - brute_force(values, affine, beam)).max() < 12 * step_mm


@settings(max_examples=8, deadline=None)
@given(st.tuples(*[st.floats(0.8, 2)] * 3), st.tuples(*[st.floats(-180, 180)] * 3), st.sampled_from(VIEWS))
def test_a_smooth_density_has_the_integral_of_its_formula(
    spacing: tuple[float, float, float], turn: tuple[float, float, float], view: str
) -> None:
    shape, sigma = (36, 36, 36), 4.5
    affine = affine_of(spacing, turn, shape)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    from_middle = np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3], axis=-1)
    values = np.exp(-0.5 * (from_middle / sigma) ** 2)
    beam = ConeBeam(600, 500, (0, 0, 0), 9, 9, 2.0, view)
    rays = beam.pixel_centres_ras() - beam.source_ras
    along = torch.nn.functional.normalize(rays, dim=-1) @ -beam.source_ras
    off = (500**2 - along**2).clamp(min=0)
    known = math.sqrt(2 * math.pi) * sigma * torch.exp(-0.5 * off / sigma**2)
    integral = line_integrals(values, affine, beam, dtype=torch.float64)
    # linear interpolation over h adds at most h²/4 to a Gaussian's variance in both directions; 3 σ fit in the volume
    tolerance = (max(spacing) / sigma) ** 2 / 4 + 0.003
    assert float((integral - known).abs().max()) < tolerance * float(known.max())


@pytest.mark.parametrize("method", METHODS)
def test_integrals_are_linear_in_the_values(method: Method) -> None:
    rng = np.random.default_rng(1)
    first, second = torch.from_numpy(rng.random((2, 7, 8, 9)))
    affine = affine_of((1, 2, 1.5), (10, 20, 30), first.shape)
    beam = ConeBeam(300, 250, (0, 0, 0), 12, 11, 2.0, "PA", 5, -5, 3)

    def of(values: torch.Tensor) -> torch.Tensor:
        return line_integrals(values, affine, beam, method=method, dtype=torch.float64)

    torch.testing.assert_close(of(2 * first - 3 * second), 2 * of(first) - 3 * of(second))


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_is_close_and_twice_the_same(method: Method) -> None:
    values = torch.from_numpy(np.random.default_rng(2).random((20, 30, 10)))
    affine = affine_of((1, 1, 3), (3, 2, 1), values.shape)
    beam = ConeBeam(1800, 1600, (0, 0, 0), 40, 40, 1.0, "PA")
    single, again = (line_integrals(values, affine, beam, method=method) for _ in range(2))
    double = line_integrals(values, affine, beam, method=method, dtype=torch.float64)
    assert single.dtype == torch.float32
    assert torch.equal(single, again)
    assert float((single - double).abs().max()) < 1e-3 * float(double.max())


def test_what_lies_behind_the_source_or_the_detector_does_not_count() -> None:
    values, affine = torch.ones(5, 100, 5), affine_of((1, 1, 1), (0, 0, 0), (5, 100, 5))
    inside = ConeBeam(60, 30, (0, 0, 0), 1, 1, 1.0, "AP")  # source and detector 30 mm from the middle of 100 mm
    integral = line_integrals(values, affine, inside, dtype=torch.float64)
    assert abs(float(integral) - 60) <= 1


def test_an_empty_volume_and_a_beam_that_misses_are_zero() -> None:
    beam, affine = ConeBeam(1000, 900, (0, 0, 0), 4, 4, 1.0), affine_of((1, 1, 1), (0, 0, 0), (3, 3, 3))
    assert not line_integrals(torch.zeros(3, 3, 3), affine, beam).any()
    affine[:3, 3] += 500
    assert not line_integrals(torch.ones(3, 3, 3), affine, beam).any()
    assert not projected_mask(torch.zeros(3, 3, 3), affine, beam).any()


def test_a_masks_shadow_is_where_rays_cross_its_voxels() -> None:
    shape = (30, 20, 30)
    mask = np.zeros(shape, dtype=bool)
    mask[10:20, 5:15, 12:14] = True
    beam = ConeBeam(1000, 800, (0, 0, 0), 64, 64, 0.9, "AP")
    affine = affine_of((1.5, 2.0, 1.0), (0, 0, 0), shape)
    shadow = projected_mask(mask, affine, beam).numpy()
    thick = line_integrals(mask, affine, beam, method="siddon", dtype=torch.float64).numpy()
    assert np.array_equal(shadow, thick > 1e-3)
    # the box's corner nearest to the source is drawn largest: half sizes 7.5 and 1 mm, 790 mm from the source
    near = 1000 / (800 - 2.0 * 5)
    rows, columns = shadow.any(axis=1).sum(), shadow.any(axis=0).sum()
    assert abs(columns * 0.9 - 15 * near) < 1.0
    assert abs(rows * 0.9 - 2 * near) < 1.0


def test_a_higher_threshold_leaves_grazing_rays_out() -> None:
    ball = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(21) - 10] * 3, indexing="ij")), axis=0) < 9
    beam = ConeBeam(1000, 900, (0, 0, 0), 40, 40, 0.7)
    affine = affine_of((1, 1, 1), (0, 0, 0), ball.shape)
    whole, core = projected_mask(ball, affine, beam), projected_mask(ball, affine, beam, longer_than_mm=10)
    assert 0 < int(core.sum()) < int(whole.sum())
    assert bool((whole | ~core).all())


def test_wrong_arguments_are_refused() -> None:
    beam, affine = ConeBeam(1000, 900, (0, 0, 0), 4, 4, 1.0), np.eye(4)
    with pytest.raises(ValueError, match="i, j, k"):
        line_integrals(torch.ones(3, 3), affine, beam)
    with pytest.raises(ValueError, match="singular"):
        line_integrals(torch.ones(3, 3, 3), np.zeros((4, 4)), beam)
    with pytest.raises(ValueError, match="method"):
        line_integrals(torch.ones(3, 3, 3), affine, beam, method="guess")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype"):
        line_integrals(torch.ones(3, 3, 3), affine, beam, dtype=torch.int32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_the_gpu_gives_the_same_integrals(method: Method) -> None:
    values = torch.from_numpy(np.random.default_rng(3).random((20, 30, 10)))
    affine = affine_of((1, 1, 3), (3, 2, 1), values.shape)
    beam = ConeBeam(900, 800, (0, 0, 0), 40, 40, 1.0, "PA")
    on_cpu = line_integrals(values, affine, beam, method=method, dtype=torch.float64)
    on_gpu = line_integrals(values, affine, beam, method=method, dtype=torch.float64, device="cuda")
    torch.testing.assert_close(on_gpu.cpu(), on_cpu)
