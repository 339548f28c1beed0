"""Processes share an epoch out: no item is left out or counts twice, and a step takes what one process would take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radseg.pipelines.errors import WeightsError
from radseg.pipelines.training.shard_sampler import ShardSampler, ValidationShard

sizes = st.tuples(st.integers(1, 60), st.integers(1, 5), st.integers(1, 5))


def _shards(items: int, processes: int, batch: int, epoch: int = 3, seed: int = 1) -> list[ShardSampler]:
    shards = [ShardSampler(range(items), processes, rank, seed, batch) for rank in range(processes)]
    for shard in shards:
        shard.set_epoch(epoch)
    return shards


@given(sizes)
def test_every_item_counts_once_and_all_take_as_many_steps(size: tuple[int, int, int]) -> None:
    items, processes, batch = size
    shards = _shards(items, processes, batch)
    steps = {-(-len(list(shard)) // batch) for shard in shards}
    assert steps == {-(-len(shard) // batch) for shard in shards}
    assert len(steps) == 1
    counted = [
        item
        for shard in shards
        for step in range(max(steps))
        for item in shard.batch(step)[: shard.counts(step)[shard.rank]]
    ]
    assert sorted(counted) == list(range(items))


@given(sizes)
def test_a_step_takes_what_one_process_with_the_joint_batch_takes(size: tuple[int, int, int]) -> None:
    items, processes, batch = size
    shards, (alone,) = _shards(items, processes, batch), _shards(items, 1, batch * processes)
    for step in range(-(-items // (batch * processes))):
        counts = shards[0].counts(step)
        assert all(shard.counts(step) == counts for shard in shards)
        joint = [item for shard in shards for item in shard.batch(step)[: counts[shard.rank]]]
        assert sorted(joint) == sorted(alone.batch(step))
        assert all(shard.joint_batch(step) == alone.batch(step) for shard in shards)
        assert all(shard.batch(step) for shard in shards)


@given(sizes, st.integers(0, 9))
def test_one_seed_deals_alike_and_each_epoch_otherwise(size: tuple[int, int, int], epoch: int) -> None:
    assert [s.items() for s in _shards(*size, epoch)] == [s.items() for s in _shards(*size, epoch)]
    if size[0] > 20:
        assert _shards(*size, epoch)[0].items() != _shards(*size, epoch + 1)[0].items()
        assert _shards(*size, epoch)[0].items() != _shards(*size, epoch, seed=2)[0].items()


def test_going_on_in_mid_epoch_leaves_out_what_was_taken_once() -> None:
    (shard,) = _shards(10, 1, 3)
    (again,) = _shards(10, 1, 3)
    again.load_state_dict(shard.state_dict(steps=2))
    assert list(again) == shard.items()[6:]
    assert list(again) == shard.items()
    assert len(again) == 10


@pytest.mark.parametrize(("size", "name"), [((10, 2, 3), "num_replicas"), ((10, 1, 2), "batch_size")])
def test_going_on_with_another_split_is_refused(size: tuple[int, int, int], name: str) -> None:
    (shard,) = _shards(10, 1, 3)
    with pytest.raises(WeightsError, match=f"stopped in mid-epoch with {name}"):
        _shards(*size)[0].load_state_dict(shard.state_dict(steps=1))


@given(st.integers(1, 20), st.integers(1, 5))
def test_validation_items_are_shared_out_or_taken_by_all(items: int, processes: int) -> None:
    shards = [list(ValidationShard(range(items), processes, rank)) for rank in range(processes)]
    if items < processes:
        assert all(shard == list(range(items)) for shard in shards)
    else:
        assert sorted(item for shard in shards for item in shard) == list(range(items))
    assert all(shards)
