"""Prepared images kept on disk are what would be prepared anew, whoever made them and whatever happened to them."""

import json
import logging
import multiprocessing
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.errors import InputError
from radseg.pipelines.training.epoch_dataset import EpochDataset
from radseg.pipelines.training.prepared_cache import PreparedCache
from radseg.transforms import WindowHUd

LIMIT_BYTES = 1_000_000_000
BUNDLES = ("spine", "lung_ct", "lung_xray", "pelvis_xray")


class Counting:
    """Reads `.npy` files and says how often it did."""

    def __init__(self, times: float = 1.0) -> None:
        self.times = times
        self._made: list[str] = []

    def __call__(self, item: dict[str, Any]) -> dict[str, torch.Tensor]:
        self._made.append(Path(item["image"]).name)
        return {key: self.times * torch.from_numpy(np.load(path)) for key, path in item.items()}


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, str]]:
    """Three items of 1,000 voxels."""
    found = []
    for number in range(3):
        item = {key: str(tmp_path / f"{key}{number}.npy") for key in ("image", "label")}
        np.save(item["image"], np.full((1, 10, 10, 10), float(number), np.float32))
        np.save(item["label"], np.full((1, 10, 10, 10), float(number % 2), np.float32))
        found.append(item)
    return found


def _dataset(items: list[dict[str, str]], transform: Any, cache_dir: Path, **options: Any) -> EpochDataset:
    return EpochDataset(items, transform, progress=False, cache_dir=cache_dir, **options)


def _entries(folder: Path) -> set[str]:
    return {note.parent.name for note in folder.glob("*/entry.json")}


def test_a_second_training_prepares_nothing_and_sees_the_same(items, tmp_path):
    first, second = Counting(), Counting()
    made = _dataset(items, first, tmp_path / "cache")
    found = _dataset(items, second, tmp_path / "cache")
    assert len(first._made) == 3
    assert second._made == []
    for before, after in zip(made, found, strict=True):
        assert all(torch.equal(before[key], after[key]) and before[key].dtype == after[key].dtype for key in before)


def test_other_settings_are_prepared_apart(items, tmp_path):
    _dataset(items, Counting(), tmp_path / "cache")
    doubled = Counting(times=2.0)
    assert _dataset(items, doubled, tmp_path / "cache")[1]["image"].max() == 2.0
    assert len(doubled._made) == 3


def test_a_changed_image_is_prepared_anew_and_a_moved_one_is_not(items, tmp_path):
    _dataset(items, Counting(), tmp_path / "cache")
    about = Path(items[1]["image"]).stat()
    np.save(items[1]["image"], np.full((1, 10, 10, 10), 7.0, np.float32))
    os.utime(items[1]["image"], ns=(about.st_atime_ns, about.st_mtime_ns))  # same name, size and time
    moved = tmp_path / "elsewhere.npy"
    shutil.move(items[2]["image"], moved)
    items[2]["image"] = str(moved)
    again = Counting()
    assert _dataset(items, again, tmp_path / "cache")[1]["image"].max() == 7.0
    assert again._made == ["image1.npy"]


@pytest.mark.parametrize("harm", ["cut off", "flipped", "no file", "no JSON"])
def test_a_damaged_entry_is_made_anew(items, tmp_path, caplog, harm):
    _dataset(items, Counting(), tmp_path / "cache")
    entry = tmp_path / "cache" / min(_entries(tmp_path / "cache"))
    content = bytearray((entry / "image.npy").read_bytes())
    content[-1] ^= 1
    if harm == "no file":
        (entry / "label.npy").unlink()
    elif harm == "no JSON":
        (entry / "entry.json").write_text("{")
    else:
        (entry / "image.npy").write_bytes(content[:200] if harm == "cut off" else content)
    again, after = Counting(), Counting()
    with caplog.at_level(logging.WARNING):
        found = _dataset(items, again, tmp_path / "cache")
    assert len(again._made) == 1
    assert [item["image"].max().item() for item in found] == [0.0, 1.0, 2.0]
    assert harm == "no file" or "damaged" in caplog.text
    _dataset(items, after, tmp_path / "cache")
    assert after._made == []


def test_nothing_in_an_entry_can_be_run(items, tmp_path):
    _dataset(items, Counting(), tmp_path / "cache")
    for entry in _entries(tmp_path / "cache"):
        folder = tmp_path / "cache" / entry
        assert {file.name for file in folder.iterdir()} == {"image.npy", "label.npy", "entry.json"}
        for name in ("image", "label"):
            np.load(folder / f"{name}.npy", allow_pickle=False)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_the_entries_unused_for_longest_make_room(items, tmp_path):
    entry_bytes = 2 * 4 * 1000
    caches = [PreparedCache(tmp_path / "cache", Counting(), int(2.5 * entry_bytes)) for _ in items]
    names = []
    for cache, item in zip(caches, items, strict=True):
        cache.get(item, lambda item=item: Counting()(item))
        names.append((_entries(tmp_path / "cache") - set(names)).pop())
        for age, name in enumerate(reversed(names)):  # clocks of file systems are coarse
            if (tmp_path / "cache" / name).exists():
                os.utime(tmp_path / "cache" / name, ns=(0, 1_000_000_000 * (10 - age)))
        if len(names) == 2:
            os.utime(tmp_path / "cache" / names[0], ns=(0, 1_000_000_000 * 100))  # the first is used again
    assert _entries(tmp_path / "cache") == {names[0], names[2]}


def test_what_has_no_room_stays_in_memory_and_is_told_once(items, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        found = _dataset(items, Counting(), tmp_path / "cache", cache_limit_gb=1.2 * 8000 / 1e9)
    assert [item["image"].max().item() for item in found] == [0.0, 1.0, 2.0]
    assert len(_entries(tmp_path / "cache")) == 1
    assert caplog.text.count("raise cache_limit_gb") == 1


def test_items_beyond_the_share_of_memory_are_mapped_from_disk(items, tmp_path):
    def mapped(dataset: EpochDataset, index: int) -> bool:
        maps = Path("/proc/self/maps").read_text().splitlines()
        address = dataset._prepared[index]["image"].data_ptr()
        spans = [line.split()[0].split("-") for line in maps if str(tmp_path / "cache") in line]
        return any(int(start, 16) <= address < int(end, 16) for start, end in spans)

    if not Path("/proc/self/maps").is_file():
        pytest.skip("this system doesn't tell what is mapped")
    held = _dataset(items, Counting(), tmp_path / "cache")
    out_of_memory = _dataset(items, Counting(), tmp_path / "cache", memory_share=0.0)
    assert not any(mapped(held, index) for index in range(3))
    assert all(mapped(out_of_memory, index) for index in range(3))
    assert torch.equal(held[2]["image"], out_of_memory[2]["image"])


def test_what_changes_a_mapped_item_leaves_the_entry_alone(items, tmp_path):
    _dataset(items, Counting(), tmp_path / "cache", memory_share=0.0)[1]["image"].fill_(9.0)
    again = Counting()
    assert _dataset(items, again, tmp_path / "cache", memory_share=0.0)[1]["image"].max() == 1.0
    assert again._made == []


def test_of_two_who_want_an_item_one_prepares_it(items, tmp_path):
    made: list[str] = []
    both_here = threading.Barrier(2)

    def take(_: int) -> list[float]:
        cache = PreparedCache(tmp_path / "cache", None, LIMIT_BYTES)
        both_here.wait()

        def prepare(item: dict[str, str]) -> dict[str, torch.Tensor]:
            made.append(item["image"])
            return Counting()(item)

        return [cache.get(item, lambda item=item: prepare(item))["image"].max().item() for item in items]

    # locks lie on open files: threads that opened their own exclude one another as processes do
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(take, range(2))) == [[0.0, 1.0, 2.0]] * 2
    assert sorted(made) == [item["image"] for item in items]


def _prepare_all(items: list[dict[str, str]], folder: Path, ready: Any, answer: Any) -> None:
    counting = Counting()
    ready.wait()
    _dataset(items, counting, folder)
    answer.put(len(counting._made))


@pytest.mark.long
def test_of_two_processes_one_prepares_each_item(items, tmp_path):
    # spawned: a fork of a process with threads may hang
    context = multiprocessing.get_context("spawn")
    ready, answer = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_prepare_all, args=(items, tmp_path / "cache", ready, answer)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    made = [answer.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sum(made) == 3
    assert len(_entries(tmp_path / "cache")) == 3


def test_what_a_killed_process_left_half_written_is_swept(items, tmp_path):
    left = tmp_path / "cache" / f".writing-{'0' * 64}"
    left.mkdir(parents=True)
    (left / "image.npy").write_bytes(b"half")
    found = _dataset(items, Counting(), tmp_path / "cache")
    assert found[2]["image"].max() == 2.0
    assert not left.exists()


def test_a_cache_that_cant_be_written_is_told_with_the_remedy(items, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"cache: prepared images can't be kept there \(.*\); .* --cache_dir"):
        _dataset(items, Counting(), tmp_path / "cache")


def test_a_wrong_label_in_the_cache_is_refused_as_ever(items, tmp_path):
    _dataset(items, Counting(), tmp_path / "cache")
    with pytest.raises(InputError, match=r"label1\.npy: holds label 1, the bundle knows 0 to 0"):
        _dataset(items, Counting(), tmp_path / "cache", labels=0)


def test_an_item_that_isnt_of_files_is_never_kept(tmp_path):
    volume = {"image": 3.0, "label": 0.0}
    _dataset([volume], lambda item: {key: torch.ones(1, 2, 2, 2) for key in item}, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_change_in_the_code_of_a_transform_is_noticed(items, tmp_path, monkeypatch):
    source = tmp_path / "theirs.py"
    monkeypatch.syspath_prepend(tmp_path)
    code = "class Theirs:\n    def __call__(self, item):\n        return item\n"
    source.write_text(code)
    import theirs

    recipe = Compose([WindowHUd("image", -200.0, 1200.0), theirs.Theirs()])
    before = PreparedCache(tmp_path / "cache", recipe, LIMIT_BYTES)._recipe
    assert PreparedCache(tmp_path / "cache", recipe, LIMIT_BYTES)._recipe == before
    source.write_text(code.replace("item\n", "dict(item)\n"))
    assert PreparedCache(tmp_path / "cache", recipe, LIMIT_BYTES)._recipe != before


@pytest.mark.parametrize(
    ("bundle", "override"),
    [
        ("spine", {"spacing_mm": [2.0, 2.0, 2.0]}),
        ("spine", {"preprocessing#transforms#3#lower_hu": -100.0}),
        ("lung_ct", {"image_size": 128}),
        ("lung_ct", {"clahe_clip_limit": 3.0}),
        ("lung_xray", {"blur_size": 7}),
        ("lung_xray", {"gradient_times": 1}),
        ("pelvis_xray", {"image_size": 128}),
    ],
)
def test_every_setting_of_a_bundle_s_preparation_counts(bundle, override, tmp_path):
    def recipe(**overrides: Any) -> list[Any]:
        parser = load_workflow(bundle, "train", overrides).parser
        return PreparedCache(tmp_path, parser.get_parsed_content("preprocessing"), LIMIT_BYTES)._recipe

    assert recipe() == recipe()
    assert recipe() != recipe(**override)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_bundle_trains_on_what_its_cache_holds(bundle, tmp_path, small):
    def data(**overrides: Any) -> tuple[EpochDataset, EpochDataset]:
        parser = load_workflow(bundle, "train", {"progress": False, **small[bundle], **overrides}).parser
        return parser.get_parsed_content("train#dataset"), parser.get_parsed_content("validate#dataset")

    plain = data()
    cached = data(cache_dir=str(tmp_path / "cache"))
    again = data(cache_dir=str(tmp_path / "cache"))
    assert len(_entries(tmp_path / "cache")) == len(plain[0].data) + len(plain[1].data)
    for one, other, third in zip(plain, cached, again, strict=True):
        for key in ("image", "label"):
            assert torch.equal(one._prepared[0][key], other._prepared[0][key])
            assert torch.equal(one._prepared[0][key], third._prepared[0][key])


def test_a_dicom_folder_is_known_by_all_its_files(tmp_path, items):
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.dcm").write_bytes(bytes([number]) * 10)
    cache = PreparedCache(tmp_path / "cache", Counting(), LIMIT_BYTES)
    cache.get({"image": folder}, lambda: {"image": torch.zeros(3)})
    assert cache.get({"image": folder}, lambda: {"image": torch.ones(3)})["image"].sum() == 0
    (folder / "2.dcm").write_bytes(b"one more")
    assert cache.get({"image": folder}, lambda: {"image": torch.ones(3)})["image"].sum() == 3


def test_the_real_chest_ct_is_the_same_from_the_cache(real_data, tmp_path):
    part = nib.load(real_data / "chest_ct" / "ct.nii.gz").slicer[200:260, 200:260, :40]
    nib.save(part, tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(part.shape, np.uint8), part.affine), tmp_path / "label.nii.gz")
    item = {"image": "ct.nii.gz", "label": "label.nii.gz"}
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [item], "validation": [item], "test": []}))

    def prepared() -> dict[str, torch.Tensor]:
        overrides = {"dataset_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache"), "progress": False}
        parser = load_workflow("spine", "train", overrides).parser
        return parser.get_parsed_content("train#dataset")._prepared[0]

    first, second = prepared(), prepared()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first["image"].max() > 0
