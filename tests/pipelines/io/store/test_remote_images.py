"""Images in a store are the cases that they would be in a folder, each fetched when its turn comes."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.cases import Case, Refusal, digest, discover
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_volume
from radseg.pipelines.io.store.local_copy import called, with_urls
from radseg.pipelines.io.store.storage import upload

SAMPLES = Path(__file__).parents[4] / "sample_data" / "lung_ct"
URL = "faulty://box/data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local folder with a DICOM series, two pictures of one name, a hidden file and a text."""
    shutil.copytree(SAMPLES / "dicom" / "lung04", tmp_path / "in" / "lung04")
    for number in (1, 2):
        (tmp_path / "in" / f"part{number}").mkdir()
        grey = np.random.default_rng(number).integers(0, 255, (20, 20)).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "in" / f"part{number}" / "slice.png")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"x")
    (tmp_path / "in" / "notes.txt").write_text("x")
    return tmp_path / "in"


@pytest.fixture
def box(faulty: Any, folder: Path) -> str:
    """The same in a store."""
    _upload(folder, URL)
    return URL


def _upload(folder: Path, url: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            upload(file, f"{url}/{file.relative_to(folder).as_posix()}")


def _told(found: Any) -> list[tuple[str, str]]:
    return sorted((one.name, digest(one)) for one in found if isinstance(one, Case))


def test_the_cases_are_those_of_a_local_folder(box: str, folder: Path) -> None:
    remote, local = _told(discover(box)), _told(discover(folder))
    assert remote == local
    assert len(remote) == 3
    assert len({name for name, _ in remote}) == 3


def test_they_load_as_the_local_ones_do(box: str, folder: Path) -> None:
    remote = {one.name: load_volume(one) for one in discover(box) if isinstance(one, Case)}
    for one in discover(folder):
        assert isinstance(one, Case)
        assert np.array_equal(remote[one.name].array, load_volume(one).array)


def test_a_picture_is_fetched_when_its_turn_comes_and_gone_with_its_case(faulty: Any, box: str) -> None:
    slices = len(list((SAMPLES / "dicom" / "lung04").iterdir()))
    found = discover(box)
    first = next(found)
    assert isinstance(first, Case)
    assert len(faulty.downloads) == slices + 1  # and the text, since any file may be DICOM
    del first
    picture = next(found)
    assert isinstance(picture, Case)
    assert called(picture.source) == f"{URL}/part1/slice.png"
    local = picture.files[0]
    assert local.is_file()
    assert len(faulty.downloads) == slices + 2
    next(found)
    del picture
    assert not local.exists()


def test_what_isnt_taken_isnt_fetched(faulty: Any, box: str) -> None:
    (one,) = [one for one in discover(box, accepts=["nifti"]) if isinstance(one, Refusal)]
    assert with_urls(one.reason) == f"no NIfTI found in {URL}; check the folder"
    assert not [name for name in faulty.downloads if name.endswith(".png")]


def test_an_empty_container_is_one_line(faulty: Any) -> None:
    faulty().mkdir("/box/empty")
    with pytest.raises(InputError, match=r"^faulty://box/empty: holds no files; check the container and folder$"):
        discover("faulty://box/empty")
    with pytest.raises(InputError, match=r"^faulty://box/none: no such file, folder or container"):
        discover("faulty://box/none")


def test_a_container_without_images_is_one_line(faulty: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    upload(tmp_path / "notes.txt", f"{URL}/notes.txt")
    (one,) = discover(URL)
    assert isinstance(one, Refusal)
    assert called(one.source) == URL
    assert with_urls(one.reason).endswith(f"found in {URL}; check the folder")


def test_results_below_the_input_arent_taken_for_images(box: str, folder: Path) -> None:
    _upload(folder / "part1", f"{URL}/masks/slice")
    assert len(_told(discover(URL, exclude=f"{URL}/masks"))) == 3
    assert len(_told(discover(URL))) == 4


def test_local_and_remote_inputs_mix(box: str, folder: Path) -> None:
    names = [name for name, _ in _told(discover([f"{URL}/part1", folder / "part2", f"{URL}/part2/slice.png"]))]
    assert len(names) == 3
    assert names == [name for name, _ in _told(discover([f"{URL}/part1", folder / "part2", f"{URL}/part2/slice.png"]))]
    with pytest.raises(InputError, match="no such file or folder"):
        discover([URL, folder / "missing"])


def test_a_zip_in_a_store_is_looked_into(faulty: Any, folder: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    upload(tmp_path / "zipped.zip", f"{URL}/zipped.zip")
    assert _told(discover(URL)) == _told(discover(f"{URL}/zipped.zip")) != []
    assert len(_told(discover(URL))) == 3


def test_a_picture_whose_download_fails_is_a_case_that_fails(faulty: Any, box: str) -> None:
    found = discover(box)
    next(found)
    faulty.faults = 4
    broken, fine = found
    assert isinstance(broken, Case)
    assert isinstance(fine, Case)
    with pytest.raises(InputError, match=r"part1/slice.png: downloading failed: .* lost 4 times; .* start again"):
        digest(broken)
    assert digest(fine)


def test_a_series_whose_download_fails_ends_the_search_with_one_line(faulty: Any, box: str) -> None:
    faulty.faults = 999
    with pytest.raises(InputError, match="downloading failed"):
        list(discover(box))
