"""Both sides of the training benchmark train the same network on the same images, and count the same things."""

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from torch import nn

from radseg.pipelines.bundle_loader import load_workflow

ROOT = Path(__file__).parents[2]
TINY = {
    "spine": {"network_def#features": [4, 8, 16, 32, 64], "roi_size": [32, 32, 32], "spacing_mm": [3.0, 3.0, 3.0]},
    "lung_ct": {"network_def#features": [4, 8, 16, 32], "image_size": 64, "batch_size": 4},
}
# MONAI's LoadImaged makes readers of every kind and warns where one has no plugin
loads_with_monai = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a file of benchmarks/training, whose scripts find one another as neighbours."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "engine"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "training"))

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    return imported


@pytest.fixture(params=["spine", "lung_ct"])
def order(request, part, tmp_path):
    """What a worker is told, on phantoms."""
    dataset, _ = part("images").make_dataset(request.param, tmp_path / "nowhere", tmp_path / "data")
    return {
        "bundle": request.param,
        "dataset": str(dataset),
        "device": "cpu",
        "output": str(tmp_path / "run"),
        "warm_up": 1,
        "steps": 2,
        "threads": 1,
        "workers": 0,
        "cache_dir": None,
        "overrides": {**TINY[request.param], "max_epochs": 3},
    }


@loads_with_monai
def test_both_sides_prepare_the_same_images(part, order):
    parser = load_workflow(order["bundle"], "train", {"dataset_dir": order["dataset"], **order["overrides"]}).parser
    dataset = Path(order["dataset"])
    item = json.loads((dataset / "datalist.json").read_text())["training"][0]
    item = {key: str(dataset / item[key]) for key in ("image", "label")}
    ours = parser.get_parsed_content("preprocessing")(item)
    name = "spine_preprocessing" if order["bundle"] == "spine" else "lung_preprocessing"
    theirs = getattr(part("zoo_side"), name)(parser)(item)
    if order["bundle"] == "spine":  # the grids differ by less than a voxel: radseg's keeps the field of view
        assert np.abs(np.subtract(theirs["image"].shape, ours["image"].shape)).max() <= 1
        assert abs(float(theirs["image"].mean()) - float(ours["image"].mean())) < 0.02
    else:
        image, label = (torch.as_tensor(np.asarray(ours[key]))[..., 0] for key in ("image", "label"))
        assert theirs["image"].shape == image.shape
        assert (theirs["image"] - image).abs().mean() < 0.02
        assert ((theirs["label"] > 0) == (label > 0)).float().mean() > 0.99


@loads_with_monai
@pytest.mark.filterwarnings("ignore:Got empty candidates")  # a window without a vertebra's voxel
def test_each_side_times_its_steps_and_learns(part, order):
    for side in ("zoo_side", "radseg_side"):
        found = part(side).work(order)
        assert found["samples_per_second"] > 0
        assert 0 <= found["waiting_share"] < 1
        assert np.isfinite(found["loss_last"])


def test_steps_go_on_over_the_end_of_an_epoch(part, order):
    steps = {"lung_ct": 12, "spine": 4}[order["bundle"]]
    order["steps"] = steps
    order["overrides"] |= _main(part)._long_epoch(order)
    assert part("radseg_side").work(order)["samples_per_second"] > 0


def test_a_bundle_measured_before_stays_in_the_result_if_it_was_measured_alike(part, tmp_path):
    main, file = _main(part), tmp_path / "training_cpu.json"
    result = {"what": "3 turns", "commit": "b", "date": "2", "machine": {"cpu": "this"}, "jobs": {}}
    assert main._measured_before(file, result) == {}
    before = {**result, "commit": "a", "date": "1", "jobs": {"spine": {"commit": "a"}}}
    for changed, kept in (({}, True), ({"what": "2 turns"}, False), ({"machine": {"cpu": "another"}}, False)):
        file.write_text(json.dumps({**before, **changed}))
        assert main._measured_before(file, result) == (before["jobs"] if kept else {})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@loads_with_monai
@pytest.mark.filterwarnings("ignore:Got empty candidates")
def test_each_side_times_its_steps_on_a_gpu_which_is_named(part, order):
    order = {**order, "device": "cuda"}
    for side in ("zoo_side", "radseg_side"):
        assert part(side).work(order)["samples_per_second"] > 0
    assert part("arithmetic").work(order)["gpu"] == torch.cuda.get_device_name()


@pytest.mark.parametrize("side", ["zoo_side", "radseg_side", "arithmetic"])
def test_the_device_reaches_what_is_measured(part, order, side, monkeypatch):
    asked = []

    def load(bundle, verb, settings):
        asked.append(settings["device"])
        raise StopIteration

    monkeypatch.setattr("radseg.pipelines.bundle_loader.load_workflow", load)
    monkeypatch.setattr(part(side), "load_workflow", load, raising=False)
    with pytest.raises(StopIteration):
        part(side).work({**order, "device": "cuda:3"})
    assert asked == ["cuda:3"]


def test_a_step_ends_when_the_gpu_is_through_with_it(part, monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    for device, times in (("cpu", 0), ("cuda:1", 3)):
        watch = part("steps").StepWatch(1, 2, device)
        trainer = Engine(lambda engine, batch: [{"loss": 0.0}])
        watch.attach(trainer)
        trainer.run(range(9))
        assert waited == [device] * times


def test_a_training_set_is_ready_with_and_without_a_cache(part, order, tmp_path):
    start = part("start")
    answers = [start.work({**order, "cache_dir": place}) for place in (None, str(tmp_path / "c"), str(tmp_path / "c"))]
    assert len({answer["items"] for answer in answers}) == 1
    assert (tmp_path / "c").is_dir()


def test_only_steps_after_the_warm_up_count_and_then_the_run_ends(part):
    watch = part("steps").StepWatch(2, 3)
    seen = []

    def step(engine: Engine, batch: int) -> list[dict[str, float]]:
        seen.append(batch)
        return [{"loss": float(batch)}]

    trainer = Engine(step)
    watch.attach(trainer)
    trainer.run(range(100), max_epochs=2)
    assert seen == [0, 1, 2, 3, 4]
    watch.waited, watch.whole = [9.0, 9.0, 0.1, 0.1, 0.4], [90.0, 90.0, 1.0, 2.0, 3.0]
    found = watch.figures(samples=4)
    assert found["samples_per_second"] == 2.0
    assert found["waiting_share"] == 0.1
    assert (found["loss_first"], found["loss_last"]) == (1.0, 3.0)


def test_a_training_that_ends_too_soon_is_no_measurement(part):
    watch = part("steps").StepWatch(1, 5)
    trainer = Engine(lambda engine, batch: [{"loss": 0.0}])
    watch.attach(trainer)
    trainer.run(range(2), max_epochs=1)
    with pytest.raises(RuntimeError, match="after 2 of 6 steps"):
        watch.figures(samples=1)


def test_the_floor_counts_both_ways_through_the_network(part, monkeypatch):
    arithmetic = part("arithmetic")
    network = nn.Conv2d(1, 4, 3, padding=1, bias=False)
    content = {"network": network, "train#dataloader": SimpleNamespace(batch_size=8)}
    settings = {"image_size": 16}
    parser = SimpleNamespace(
        get_parsed_content=content.__getitem__, get=lambda key, default=None: settings.get(key, default)
    )
    monkeypatch.setattr(arithmetic, "load_workflow", lambda *_: SimpleNamespace(parser=parser))
    monkeypatch.setattr(arithmetic, "peak_flop_per_second", lambda dtype, device: 1e6)
    found = arithmetic.work({"bundle": "lung_ct", "dataset": "", "device": "cpu", "overrides": {}, "threads": 1})
    forward = 2 * 9 * 4 * 16 * 16
    # the image itself needs no gradient, the weights do
    assert found["floor_seconds"]["exact"] == pytest.approx(8 * 2 * forward / 1e6, rel=1e-3)


def _answer():
    return {
        "samples_per_second": 2.0,
        "step_seconds": 1.0,
        "waiting_seconds": 0.1,
        "waiting_share": 0.1,
        "loss_first": 2.0,
        "loss_last": 1.5,
        "workers_mb": 100,
        "peak_mb": 2000,
    }


def _result(part):
    answer = _answer()
    runs = {"zoo": [answer] * 3, "radseg": [{**answer, "samples_per_second": rate} for rate in (4.0, 5.0, 9.0)]}
    return _main(part).summary(runs, {"exact": 0.5, "fast": 0.25})


def _main(part):
    part("images")
    spec = importlib.util.spec_from_file_location("training_main", ROOT / "benchmarks" / "training" / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_medians_are_compared(part):
    sides = _result(part)
    assert sides["zoo"]["times_zoo"] == 1.0
    assert sides["radseg"]["times_zoo"] == 2.5
    assert sides["radseg"]["times_floor"] == 4.0


def test_a_result_of_a_gpu_names_it_and_leaves_the_cpu_s_alone(part, monkeypatch, tmp_path, capsys):
    main = _main(part)
    ordered = []

    def run(worker, order, **limits):
        ordered.append((Path(worker).stem, order["device"]))
        return {
            "arithmetic": {"gpu": "some GPU", "floor_seconds": {"exact": 0.5, "fast": 0.25}},
            "start": {"ready_seconds": 1.0},
        }.get(Path(worker).stem, _answer())

    monkeypatch.setattr(main, "run", run)
    monkeypatch.setattr(main, "RESULTS", tmp_path)
    monkeypatch.setattr(main, "write_tables", lambda result: pytest.fail("the README's tables are the CPU's"))
    given = ["--device", "cuda:1", "--jobs", "spine", "--turns", "1", "--data", str(tmp_path / "nowhere")]
    monkeypatch.setattr("sys.argv", ["training", *given, "--cache", str(tmp_path / "cache")])
    main.main()
    result = json.loads((tmp_path / "training_cuda.json").read_text())
    assert result["machine"]["gpu"] == "some GPU"
    assert "CUDA:1" in result["what"]
    # amp halves the zoo's floor there
    assert {side["floor_seconds"] for side in result["jobs"]["spine"]["sides"].values()} == {0.25}
    assert {device for worker, device in ordered if worker != "start"} == {"cuda:1"}
    assert "some GPU" in capsys.readouterr().out


def test_the_tables_replace_only_what_lies_between_their_markers(part, tmp_path):
    table = part("training_table")
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{table.START}\nold\n{table.END}\nbelow\n")
    start = {"no cache": 3.0, "first start": 4.0, "second start": 0.5}
    result = {
        "what": "training steps",
        "machine": {"cpu": "some", "memory_gb": 24.0},
        "jobs": {
            "spine": {
                "date": "2026-01-01",
                "commit": "abc",
                "images": "phantoms",
                "sides": _result(part),
                "start": start,
            }
        },
    }
    table.write_tables(json.loads(json.dumps(result)), readme)
    written = readme.read_text()
    assert written.startswith("above\n")
    assert written.endswith("\nbelow\n")
    assert "old" not in written
    assert "spine 2026-01-01, commit abc" in written
    assert "| radseg, amp | 5.00 | 2.50 | 1.00 | 0.10 | 10% | 0.25 | 4.00 | 2.00 | 0.10 | 2.000 → 1.500 |" in written
    assert "| spine | 3.00 | 4.00 | 0.50 |" in written


def test_the_readme_has_a_place_for_the_tables(part):
    table = part("training_table")
    text = (ROOT / "benchmarks" / "README.md").read_text()
    assert text.index(table.START) < text.index(table.END)


def test_the_real_images_become_a_dataset(part, real_data, tmp_path):
    place, what = part("images").make_dataset("lung_ct", real_data, tmp_path)
    items = json.loads((place / "datalist.json").read_text())["training"]
    assert len(items) == part("images").SLICES
    assert all(Path(item[key]).is_file() for item in items for key in ("image", "label"))
    assert "covid_ct" in what
