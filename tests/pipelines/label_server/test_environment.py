"""What `make label-env` installs, and the modules that stand in for what it can't."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("monailabel")

ROOT = Path(__file__).parents[3]
# what MONAI Label asks for and goes without here
LEFT_OUT = {
    "bcrypt": "passwords: the guard has tokens",
    "ninja": "compiles scribble layers, which no bundle has",
    "numpymaxflow": "scribbles; takes numpy back to 1.26",
    "pydicom-seg": "breaks on pydicom 3; stood in for",
    "sam2": "a model of its own; needs torchvision",
    "scikit-learn": "active learning by clusters of pathology slides",
}


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    """Versions in constraints.txt, by name."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {_name(line): line.partition("==")[2] for line in lines}


@pytest.fixture(scope="module")
def asked() -> set[str]:
    """Names in the extra `label` and among radseg's own requirements."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        project = tomllib.load(stream)["project"]
    return {_name(one) for one in [*project["optional-dependencies"]["label"], *project["dependencies"]]}


def test_every_requirement_of_monai_label_is_asked_for_or_left_out_on_purpose(asked: set[str]) -> None:
    told = [one for one in metadata.requires("monailabel") or [] if "extra ==" not in one]
    assert {_name(one) for one in told} - asked - {"urllib3"} == set(LEFT_OUT)


def test_what_is_asked_for_is_pinned_and_installed_as_pinned(asked: set[str], pinned: dict[str, str]) -> None:
    wanted = asked | {"monailabel"}
    assert wanted - set(pinned) == set()
    installed = {name: metadata.version(name).partition("+")[0] for name in wanted}
    assert installed == {name: pinned[name] for name in wanted}


def test_monai_label_takes_nothing_back_to_an_old_numpy_or_to_cudas_torch(pinned: dict[str, str]) -> None:
    assert int(np.__version__.split(".")[0]) >= 2
    assert torch.__version__.partition("+")[0] == pinned["torch"] == "2.13.0"
    for name in ("torchvision", *LEFT_OUT):
        assert name not in pinned


def test_one_command_sets_the_environment_up() -> None:
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", "label-env"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    steps = [line for line in told.splitlines() if "pip install" in line]
    assert '".[label]"' in steps[-2]
    assert steps[-1].endswith("--constraint constraints.txt --no-deps monailabel")


@pytest.mark.long  # a new process imports half of the world
def test_monai_labels_server_imports_with_the_stand_ins(stand_ins: Path) -> None:
    program = (
        "import monailabel.datastore.utils.convert, torchvision, pydicom_seg;"
        "print(torchvision.__file__, pydicom_seg.__file__)"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert [Path(one).is_relative_to(stand_ins) for one in told] == [True, True]


def test_pictures_stand_side_by_side() -> None:
    from torchvision.utils import make_grid

    pictures = torch.stack([torch.full((1, 2, 3), float(number)) for number in range(5)])
    grid = make_grid(pictures, nrow=2, padding=1, pad_value=9.0)
    assert grid.shape == (3, 3 * 3 + 1, 2 * 4 + 1)
    assert grid[0, 0].tolist() == [9.0] * 9
    assert grid[1, 1].tolist() == [9, 0, 0, 0, 9, 1, 1, 1, 9]
    assert grid[2, 7].tolist() == [9, 4, 4, 4, 9, 9, 9, 9, 9]


def test_pictures_are_stretched_together_or_each_by_itself() -> None:
    from torchvision.utils import make_grid

    pictures = torch.tensor([[0.0, 2.0], [4.0, 8.0]]).reshape(2, 1, 1, 2)
    together = make_grid(pictures, normalize=True, padding=0)
    assert together[0].tolist() == [[0.0, 0.25, 0.5, 1.0]]
    assert make_grid(pictures, normalize=True, scale_each=True, padding=0)[1].tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert make_grid(pictures, normalize=True, value_range=(0.0, 4.0), padding=0)[2].tolist() == [[0.0, 0.5, 1.0, 1.0]]
    assert pictures.max() == 8  # the pictures themselves are left alone


def test_a_single_picture_gets_no_frame() -> None:
    from torchvision.utils import make_grid

    picture = torch.rand(3, 4, 5)
    assert torch.equal(make_grid(picture), picture)
    assert make_grid(torch.rand(4, 5)).shape == (3, 4, 5)


def test_a_picture_is_written_as_it_is(tmp_path: Path) -> None:
    from torchvision.utils import save_image

    picture = torch.rand(3, 6, 7)
    save_image(picture, tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        read = np.asarray(image)
    np.testing.assert_array_equal(read, np.rint(picture.permute(1, 2, 0).numpy() * 255))


def test_segmentations_are_written_and_read_by_the_maintained_copy() -> None:
    import pydicom_seg
    import pydicom_seg_rb

    assert pydicom_seg.MultiClassWriter is pydicom_seg_rb.MultiClassWriter
    assert pydicom_seg.MultiClassReader is pydicom_seg_rb.MultiClassReader
    assert callable(pydicom_seg.template.from_dcmqi_metainfo)
