"""The cone beam: distances, the radiological display, and that projecting a pixel's place gives the pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.transforms.radiography.cone_beam import VIEWS, ConeBeam


def beam(view: str = "AP", **other: object) -> ConeBeam:
    given_: dict[str, object] = {"rows": 40, "columns": 60, "pixel_mm": 2.0, "view": view, **other}
    return ConeBeam(1000.0, 800.0, (10.0, -20.0, 30.0), **given_)  # type: ignore[arg-type]


def test_the_source_stands_in_front_for_ap_and_behind_for_pa() -> None:
    assert beam("AP").source_ras.tolist() == [10.0, 780.0, 30.0]
    assert beam("PA").source_ras.tolist() == [10.0, -820.0, 30.0]
    assert beam("LL").source_ras.tolist() == [810.0, -20.0, 30.0]
    assert beam("RL").source_ras.tolist() == [-790.0, -20.0, 30.0]


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_the_patients_right_is_at_the_left_and_the_head_is_up(view: str) -> None:
    picture, _ = beam(view).project(torch.tensor([[10.0, -20, 30], [60.0, -20, 30], [10.0, -20, 60]]))
    centre, right, head = picture.tolist()
    assert centre == [19.5, 29.5]
    assert right[1] < centre[1]
    assert head[0] < centre[0]


@pytest.mark.parametrize("view", ["LL", "RL"])
def test_lateral_views_show_the_front_at_the_left(view: str) -> None:
    picture, _ = beam(view).project(torch.tensor([[10.0, 30, 30], [10.0, -20, 60]]))
    assert picture[0, 1] < 29.5
    assert picture[1, 0] < 19.5


def test_lengths_at_the_centre_are_magnified() -> None:
    geometry = beam()
    assert geometry.magnification == 1.25
    assert geometry.pixel_at_centre_mm == 1.6
    ends, depth_mm = geometry.project(torch.tensor([[10.0, -20, 30], [26.0, -20, 30]]))
    assert abs(float(ends[0, 1] - ends[1, 1]) - 10) < 1e-9
    assert depth_mm.tolist() == [800.0, 800.0]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(VIEWS),
    st.tuples(*[st.floats(-40, 40)] * 3),
    st.tuples(*[st.floats(-50, 50)] * 2),
)
def test_every_pixel_projects_onto_itself(
    view: str, turns: tuple[float, float, float], shift: tuple[float, float]
) -> None:
    yaw, pitch, roll = turns
    geometry = beam(view, yaw_degrees=yaw, pitch_degrees=pitch, roll_degrees=roll, detector_shift_mm=shift)
    picture, depth_mm = geometry.project(geometry.pixel_centres_ras())
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    torch.testing.assert_close(picture, torch.stack([rows, columns], -1).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(depth_mm, torch.full_like(depth_mm, 1000))
    away = float(torch.linalg.vector_norm(geometry.source_ras - torch.tensor(geometry.centre_ras).double()))
    assert abs(away - 800) < 1e-9


def test_turns_are_right_handed_in_ras() -> None:
    def source(**turn: float) -> list[float]:
        at = ConeBeam(1000, 800, (0, 0, 0), 4, 4, 1.0, "AP", **turn).source_ras
        return [round(part, 6) for part in at.tolist()]

    assert source(yaw_degrees=90) == [-800, 0, 0]
    assert source(pitch_degrees=90) == [0, 0, 800]
    assert source(roll_degrees=90) == [0, 800, 0]


def test_bands_of_rows_are_the_same_pixels() -> None:
    geometry = beam(yaw_degrees=5)
    assert torch.equal(geometry.pixel_centres_ras(7, 12), geometry.pixel_centres_ras()[7:12])


@pytest.mark.parametrize(
    ("wrong", "says"), [({"rows": 0}, "rows"), ({"pixel_mm": -1.0}, "pixel_mm"), ({"view": "UP"}, "view")]
)
def test_impossible_geometry_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        beam(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="between"):
        ConeBeam(800, 800, (0, 0, 0), 4, 4, 1.0)
