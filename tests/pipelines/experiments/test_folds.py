"""Each case is tested once, by a network that neither learned from its patient nor was chosen by it."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.experiments.folds import Folds, write_folds

Dataset = Callable[..., Path]


def lists(folds: Folds) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folds.files]


def patients(items: list[dict[str, Any]]) -> set[str]:
    return {item["patient"] for item in items}


def images(items: list[dict[str, Any]]) -> list[str]:
    return [item["image"] for item in items]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=3, max_size=9),
    folds=st.integers(2, 5),
    helpers=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_every_case_is_tested_once_and_no_patient_is_on_two_sides(
    sizes: list[int], folds: int, helpers: int, seed: int
) -> None:
    items = [{"patient": f"p{one}"} for one, size in enumerate(sizes) for _ in range(size)]
    items += [{"patient": f"h{one}", "always_train": True} for one in range(helpers)]
    folds = min(folds, len(sizes)) if helpers else max(min(folds, len(sizes)), 3)
    with TemporaryDirectory() as scratch:
        data = Path(scratch)
        for number, item in enumerate(items):
            item |= {"image": f"{number}.png", "label": f"{number}.png"}
            (data / f"{number}.png").touch()
        (data / "datalist.json").write_text(json.dumps({"training": items}))
        made = write_folds(data / "datalist.json", data, data / "out", folds, seed=seed)
        written = lists(made)
    tested = Counter(image for one in written for image in images(one["test"]))
    assert tested == Counter(f"{number}.png" for number in range(sum(sizes)))
    for one in written:
        sides = [patients(one[split]) for split in ("training", "validation", "test")]
        assert all(sides)
        assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides))
        assert sum(len(one[split]) for split in ("training", "validation", "test")) == len(items)
        assert {f"h{number}" for number in range(helpers)} <= sides[0]
    assert (made.cases, made.patients, made.leak) == (sum(sizes), len(sizes), False)


def test_of_two_folds_a_fifth_of_the_rest_validates(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=list("abcdefghijklmnopqrst"))
    for one in lists(write_folds(data / "datalist.json", data, tmp_path, 2)):
        assert [len(one[split]) for split in ("training", "validation", "test")] == [8, 2, 10]
        assert not patients(one["training"]) & patients(one["validation"])
    few = new_dataset("few", training=list("abc"))
    with pytest.raises(InputError, match="2 folds leave 1 patient to train and validate with; ask for --folds 3"):
        write_folds(few / "datalist.json", few, tmp_path, 2)


def test_validation_is_the_next_fold(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=list("abcdefgh"))
    written = lists(write_folds(data / "datalist.json", data, tmp_path, 4))
    for number, one in enumerate(written):
        assert images(one["validation"]) == images(written[(number + 1) % 4]["test"])


@pytest.mark.parametrize("folds", [2, 3])
def test_where_the_last_epoch_is_taken_all_but_the_tested_fold_trains(
    new_dataset: Dataset, tmp_path: Path, folds: int
) -> None:
    data = new_dataset(training=["a", "b", "c", "c"], validation=["d"])
    made = write_folds(data / "datalist.json", data, tmp_path, folds, choose="last")
    for one in lists(made):
        assert one["validation"] == one["test"]
        assert not patients(one["training"]) & patients(one["test"])
        assert sorted(images(one["training"] + one["test"])) == [f"image00{number}.png" for number in range(5)]
    assert sum(len(one["test"]) for one in lists(made)) == made.cases == 5
    assert not made.leak
    assert "its last epoch's" in made.said


def test_two_patients_are_enough_where_nothing_is_validated(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=["a", "b"])
    first, second = lists(write_folds(data / "datalist.json", data, tmp_path, 2, choose="last"))
    assert first["training"] == second["test"]
    assert second["training"] == first["test"]
    with pytest.raises(InputError, match="1 patient to deal; training, validation and test need 2"):
        write_folds(new_dataset("one", training=["a"]) / "datalist.json", tmp_path / "one", tmp_path, 2, choose="last")


def test_one_seed_gives_one_dealing_and_another_seed_another(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=list("abcdefghijklmnop"))
    first, again, other = (
        lists(write_folds(data / "datalist.json", data, tmp_path / name, 4, seed=seed))
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first == again
    assert [images(one["test"]) for one in first] != [images(one["test"]) for one in other]


def test_the_folds_of_a_prepared_list_are_kept(new_dataset: Dataset, tmp_path: Path) -> None:
    items = [{"patient": name, "fold": fold} for name, fold in (("a", 2), ("b", 0), ("c", 1), ("d", 0))]
    data = new_dataset(training=items)
    made = write_folds(data / "datalist.json", data, tmp_path, 3)
    assert [patients(one["test"]) for one in lists(made)] == [{"b", "d"}, {"c"}, {"a"}]
    assert "as the datalist gives them" in made.said
    # a patient that it gives no fold goes to the smallest; other numbers of folds are dealt anew
    more = new_dataset("more", training=items, validation=["e"])
    assert [patients(one["test"]) for one in lists(write_folds(more / "datalist.json", more, tmp_path / "m", 3))] == [
        {"b", "d"},
        {"c", "e"},
        {"a"},
    ]
    assert "seed 0" in write_folds(more / "datalist.json", more, tmp_path / "n", 5).said
    assert "seed 0" in write_folds(more / "datalist.json", more, tmp_path / "o", 2).said


def test_folds_that_would_part_a_patient_are_not_kept(new_dataset: Dataset, tmp_path: Path) -> None:
    items = [{"patient": name, "fold": fold} for fold in range(3) for name in "abc"]
    data = new_dataset(training=items)
    made = write_folds(data / "datalist.json", data, tmp_path, 3)
    assert all(len(patients(one["test"])) == 1 for one in lists(made))
    assert not made.leak


def test_helpers_are_always_trained_on_with_all_of_their_patient(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=["a", "b", "c", "h", {"patient": "h", "always_train": True}])
    made = write_folds(data / "datalist.json", data, tmp_path, 3)
    for one in lists(made):
        assert "h" in patients(one["training"])
        assert "h" not in patients(one["validation"]) | patients(one["test"])
    assert "2 items marked always_train" in made.said
    assert (made.cases, made.patients) == (3, 3)  # those that are tested


def test_several_left_out_are_said_in_the_plural_and_one_helper_in_the_singular(
    new_dataset: Dataset, tmp_path: Path
) -> None:
    helper = {"patient": "h", "always_train": True}
    data = new_dataset(training=["a", "b", "c", helper], test=["t", "u"])
    said = write_folds(data / "datalist.json", data, tmp_path, 3).said
    assert "the 2 items of the datalist's test list are left out" in said
    assert "1 item marked always_train is in every training and never tested" in said


def test_the_test_list_stays_out_and_is_told(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=["a", "b"], validation=["c"], test=["t"])
    made = write_folds(data / "datalist.json", data, tmp_path, 3)
    assert set().union(
        *(patients(one[split]) for one in lists(made) for split in ("training", "validation", "test"))
    ) == {*"abc"}
    assert "the 1 item of the datalist's test list is left out" in made.said


def test_one_fold_is_the_datalists_own_split(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=["a", "b"], validation=["c"], test=["t"])
    made = write_folds(data / "datalist.json", data, tmp_path, 1)
    (only,) = lists(made)
    assert [patients(only[split]) for split in ("training", "validation", "test")] == [{"a", "b"}, {"c"}, {"t"}]
    assert not made.leak
    leaking = new_dataset("leaking", training=["a"], validation=["b"], test=["a"])
    assert write_folds(leaking / "datalist.json", leaking, tmp_path / "l", 1).leak
    without = new_dataset("without", training=["a"], validation=["b"])
    with pytest.raises(InputError, match="no item in 'test'; ask for 2 folds or more"):
        write_folds(without / "datalist.json", without, tmp_path / "w", 1)


def test_images_can_be_dealt_singly_which_says_that_it_leaks(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=["a"] * 6 + ["b"] * 4)
    made = write_folds(data / "datalist.json", data, tmp_path, 5, by="image")
    assert made.leak
    assert "2 patients do" in made.said
    leak = lists(made)[0]["leak"]
    assert "a leak; results on this split don't hold for unseen patients" in leak
    assert "paper" not in leak  # which held its test slices out once, and dealt no folds of them
    assert all(len(one["test"]) == 2 for one in lists(made))
    unnamed = new_dataset("unnamed", training=[{}] * 5)
    assert (
        "doesn't name all patients" in write_folds(unnamed / "datalist.json", unnamed, tmp_path / "u", 5, "image").said
    )
    single = new_dataset("single", training=list("abcde"))
    assert not write_folds(single / "datalist.json", single, tmp_path / "s", 5, "image").leak


def test_simulated_cases_make_a_simulated_result(new_dataset: Dataset, tmp_path: Path) -> None:
    helped = new_dataset("helped", training=["a", "b", "c", {"patient": "h", "always_train": True, "simulated": True}])
    assert not write_folds(helped / "datalist.json", helped, tmp_path / "h", 3).simulated
    tested = new_dataset("tested", training=["a", "b", {"patient": "c", "simulated": True}])
    assert write_folds(tested / "datalist.json", tested, tmp_path / "t", 3).simulated
    whole = new_dataset("whole", {"simulated": True}, training=["a", "b", "c"])
    made = write_folds(whole / "datalist.json", whole, tmp_path / "w", 3)
    assert made.simulated
    assert lists(made)[0]["simulated"] is True


@pytest.mark.parametrize(
    ("training", "folds", "said"),
    [
        (["a", "a", "a"], 5, "1 patient to deal; training, validation and test need 3 at least: add patients, or"),
        (["a", "b"], 2, "2 patients to deal; training, validation and test need 3"),
        (["a", "b", "c"], 5, "3 patients can't fill 5 folds; ask for at most --folds 3"),
        ([{}, {}, {}], 3, r"image000\.png names no patient; add it, or deal --by image"),
        ([{"patient": "a", "fold": "x"}], 3, r"fold 'x' of image000\.png is no whole number"),
        ([], 3, "no item in training or validation"),
    ],
)
def test_a_dataset_that_cant_be_dealt_is_told(
    new_dataset: Dataset, tmp_path: Path, training: list[Any], folds: int, said: str
) -> None:
    data = new_dataset(training=training)
    with pytest.raises(InputError, match=said) as raised:
        write_folds(data / "datalist.json", data, tmp_path / "out", folds)
    assert "datalist.json" in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_an_item_without_a_label_or_file_is_told(new_dataset: Dataset, tmp_path: Path) -> None:
    data = new_dataset(training=list("abc"))
    content = json.loads((data / "datalist.json").read_text())
    (data / "image001.png").unlink()
    with pytest.raises(InputError, match=r"image001\.png doesn't exist"):
        write_folds(data / "datalist.json", data, tmp_path, 3)
    content["training"][1] = {"image": "image002.png", "patient": "b"}
    (data / "datalist.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"image002\.png has no label"):
        write_folds(data / "datalist.json", data, tmp_path, 3)


@pytest.mark.parametrize("wrong", [{"folds": 0}, {"by": "slice"}, {"folds": 1, "by": "image"}])
def test_what_cant_be_asked_for_is_told(new_dataset: Dataset, tmp_path: Path, wrong: dict[str, Any]) -> None:
    data = new_dataset(training=["a"], validation=["b"], test=["c"])
    with pytest.raises(ConfigError):
        write_folds(data / "datalist.json", data, tmp_path, **wrong)
