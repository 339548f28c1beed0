"""A mask goes to the network's grid and a heat map comes back to where it was in the patient."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.explain.grids import axis_of_source, on_network_grid, on_source_grid
from radseg.pipelines.io import load_mask, load_volume

SAMPLES = Path(__file__).parents[3] / "sample_data"


def placed(order: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """An affine whose axes run along the patient's in this order and direction."""
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * np.array(signs) * np.array(spacing)
    return affine


def centred(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The same with the grid's middle at the patient's origin."""
    affine = affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def centroid_mm(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    places = np.argwhere(values > 0)
    weights = values[values > 0]
    return affine[:3, :3] @ (weights @ places / weights.sum()) + affine[:3, 3]


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from((-1, 1))] * 3),
    spacing=st.tuples(*[st.floats(0.7, 2.5)] * 3),
    turn=st.floats(-0.3, 0.3),
)
def test_mask_and_heat_stay_at_their_place_in_the_patient(
    order: list[int], signs: tuple[int, ...], spacing: tuple[float, ...], turn: float
) -> None:
    shape, size = (30, 26, 22), (36, 36, 36)
    tilt = np.eye(4)
    tilt[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    source = tilt @ centred(placed(tuple(order), signs, spacing), shape)
    grid = centred(placed((0, 1, 2), (1, 1, 1), (1.5, 1.5, 1.5)), size)
    mask = np.zeros(shape, np.bool_)
    mask[11:18, 10:17, 8:14] = True
    there = on_network_grid(mask, source, grid, size)
    moved = np.linalg.norm(centroid_mm(there.astype(float), grid) - centroid_mm(mask.astype(float), source))
    assert moved < 1.0
    box = tuple((4, 32) for _ in range(3))
    heat, part = on_source_grid(there[4:32, 4:32, 4:32].astype(np.float32), box, grid, source, shape)
    whole = np.zeros(shape)
    whole[part] = heat
    assert np.linalg.norm(centroid_mm(whole, source) - centroid_mm(mask.astype(float), source)) < 1.0
    assert 0 <= whole.min() <= whole.max() <= 1.0001


def test_a_map_of_one_value_has_it_to_the_image_s_edge() -> None:
    source, grid = np.diag([1.0, 1, 1, 1]), np.diag([4.0, 4, 1, 1])
    grid[:2, 3] = 1.5
    heat, part = on_source_grid(np.ones((8, 8, 1), np.float32), ((0, 8), (0, 8), (0, 1)), grid, source, (32, 32, 1))
    assert heat.shape == (32, 32, 1) == tuple(one.stop - one.start for one in part)
    assert np.allclose(heat, 1)


def test_a_slice_keeps_to_itself() -> None:
    heat, part = on_source_grid(
        np.ones((8, 8, 1), np.float32), ((0, 8), (0, 8), (3, 4)), np.eye(4), np.eye(4), (8, 8, 9)
    )
    assert part[2] == slice(3, 4)
    assert heat.all()


def test_a_piece_smaller_than_a_voxel_of_the_network_is_not_lost() -> None:
    mask = np.zeros((64, 64, 1), np.bool_)
    mask[33, 17, 0] = True
    grid = np.diag([4.0, 4, 1, 1])
    there = on_network_grid(mask, np.eye(4), grid, (16, 16, 1))
    assert np.argwhere(there).tolist() == [[8, 4, 0]]


def test_the_axis_across_slices_is_found_in_the_source() -> None:
    assert axis_of_source(2, np.eye(4), placed((2, 0, 1), (1, -1, 1), (1, 1, 1))) == 0


@pytest.mark.parametrize("bundle", ["spine", "lung_ct", "lung_xray"])
def test_a_mask_goes_where_the_bundle_s_own_preprocessing_takes_it(bundle: str) -> None:
    image = sorted((SAMPLES / bundle / "imagesTr").iterdir())[0]
    label = next((SAMPLES / bundle / "labelsTr").glob(f"{image.name.split('.')[0]}*"))
    modality = "CT" if bundle in ("spine", "lung_ct") else "DX"
    small = {} if bundle == "spine" else {"image_size": 96}
    parser = load_workflow(bundle, "inference", small).parser
    parser.parse()
    volume, mask = load_volume(image, modality=modality), load_mask(label)
    prepared = parser.get_parsed_content("preprocessing")({"image": image, "label": label})
    theirs = np.asarray(prepared["label"][0]) > 0
    grid = np.asarray(prepared["image"].affine, dtype=np.float64)
    ours = on_network_grid(mask.array > 0, volume.affine_ras, grid, theirs.shape)
    assert theirs.any()
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.9
