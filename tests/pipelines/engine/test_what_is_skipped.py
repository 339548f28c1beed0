"""What looking only where it matters saves on a real CT, and that nothing looked for is among what is skipped."""

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Resized

from radseg.pipelines.engine import (
    BodyFinder,
    LungFinder,
    Members,
    Predictor,
    Restore,
    SpineFinder,
    WindowInferer,
)
from radseg.pipelines.engine.locate import Finder
from radseg.pipelines.io import LoadCased, Volume, load_volume
from radseg.transforms import ResampleToSpacingd

VERTEBRAE, LOBES = range(26, 51), range(10, 15)  # structures.csv; 26 is S1


class _Everything(torch.nn.Module):
    """Calls whatever it is shown its own, so that the mask is what was run."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(windows)


def _run(data: Path, bundle: str, finders: list[Finder]) -> tuple[npt.NDArray[np.uint8], float]:
    """Which voxels of the chest CT were run, and the share of the network's work that it took."""
    spine = bundle == "spine"
    grid = ResampleToSpacingd("image", 3.0, axcodes="RAS") if spine else Resized("image", (64, 64, -1))
    predictor = Predictor(
        LoadCased("image"),
        Compose([grid, Orientationd("image", axcodes="RAS" if spine else "PLS", labels=None)]),
        Members([_Everything()]),
        WindowInferer(48, overlap=0.5) if spine else WindowInferer([-1, -1], 8, slice_axis=2),
        Compose([]),
        torch.device("cpu"),
        Restore("sigmoid"),
        finders,
        None if spine else 8,
    )
    prediction = predictor(load_volume(data / "chest_ct" / "ct.nii.gz"))
    effort = prediction.effort
    assert effort.box is not None
    share = effort.windows_run / effort.windows
    if not spine:  # a window is a slice, of which the box is run
        share *= np.prod([stop - start for start, stop in effort.box[:2]]) / 64**2
    return prediction.mask, float(share)


def _labelled(data: Path, labels: range) -> npt.NDArray[np.bool_]:
    return np.isin(np.asarray(nib.load(data / "chest_ct" / "structures.nii.gz").dataobj), labels)


@pytest.mark.parametrize(
    ("bundle", "finder", "labels", "most"),
    [("spine", SpineFinder(), VERTEBRAE, 0.5), ("lung_ct", LungFinder(), LOBES, 0.6)],
    ids=["spine", "lungs"],
)
def test_where_the_finder_looks_half_the_work_is_saved_and_no_voxel_is_lost(
    bundle: str, finder: Finder, labels: range, most: float, real_data: Path
) -> None:
    run, share = _run(real_data, bundle, [finder])
    assert share <= most
    assert run[_labelled(real_data, labels)].all()


def test_skipping_air_keeps_every_structure_of_the_body(real_data: Path) -> None:
    run, share = _run(real_data, "spine", [BodyFinder()])
    assert share <= 1
    assert run[_labelled(real_data, range(1, 256))].all()


def test_switched_off_everything_is_run(real_data: Path) -> None:
    run, share = _run(real_data, "spine", [])
    assert share == 1
    assert run.all()


def test_air_around_a_small_body_is_skipped() -> None:
    array = np.full((160, 160, 64), -1000, np.int16)
    array[60:100, 60:100] = 40
    image = MetaTensor(torch.from_numpy(array)[None], affine=torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0])))
    found = BodyFinder()(Volume(array, np.diag([3.0, 3.0, 3.0, 1.0]), "HU"))
    assert found.region is not None
    plan = WindowInferer(48, overlap=0.5).plan(image.shape[1:], found.region.needed(image.affine.numpy()))
    assert plan.run <= plan.total / 2
