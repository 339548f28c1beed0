"""Every published layout becomes a dataset that trains: read by the datalist, passed by `data check`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from radseg.pipelines import datasets
from radseg.pipelines.datalist import read_datalist
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.import_dataset import import_dataset
from radseg.pipelines.layouts import LAYOUTS, layout_named

Made = Callable[[str], Path]
COUNTS = {"kaggle-covid-ct": 38, "covid-radiography": 10, "verse": 11}


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_imported_data_set_trains_and_has_no_leak(layout: str, copy: bool, made: Made, tmp_path: Path) -> None:
    source = made(layout)
    report = import_dataset(layout, source, tmp_path / "out", copy=copy, progress=False)
    looked = datasets.check(tmp_path / "out", progress=False)
    assert looked.problems == []
    assert looked.items == report.images
    assert sum(report.images.values()) == COUNTS.get(layout, 10)
    for split in ("training", "validation", "test"):
        items = read_datalist(report.datalist, tmp_path / "out", split)
        assert len(items) == report.images[split] > 0
        assert all({"image", "label", "patient"} <= set(item) for item in items)
    if copy:
        stored = json.loads(report.datalist.read_text())
        assert not [item for split in report.images for item in stored[split] if ".." in item["image"] + item["label"]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_data_set_is_refused_in_one_line(layout: str, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.txt").touch()
    with pytest.raises(InputError) as refused:
        import_dataset(layout, tmp_path / "holiday", tmp_path / "out", progress=False)
    assert "holiday: no " in str(refused.value)
    assert "; give the folder that holds" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "verse"])
def test_the_folder_above_is_told_where_to_look(layout: str, made: Made, tmp_path: Path) -> None:
    source = made(layout)
    with pytest.raises(InputError, match=f"; give {source}$"):
        import_dataset(layout, source.parent, tmp_path / "out", progress=False)


def test_a_layout_is_known_by_its_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean covid-radiography"):
        layout_named("covid_radiografy")
    assert all(layout.description and layout.ratios for layout in LAYOUTS.values())


def test_an_option_of_another_layout_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="layout verse has no option --fracture; it takes --fractures"):
        import_dataset("verse", made("verse"), tmp_path / "out", fracture="x.csv", progress=False)
