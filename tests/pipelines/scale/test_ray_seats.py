"""A cluster's GPUs, or its CPUs, are shared out among the workers."""

import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.scale.ray_seats import Seats, seats_for


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "seats"),
    [
        ([{"CPU": 2.0}], 1, "auto", Seats(1, 2, 0)),
        ([{"CPU": 2.0}], 2, "auto", Seats(2, 1, 0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], 3, "auto", Seats(3, 4, 0)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 2, "auto", Seats(2, 3, 0)),
        ([{"CPU": 5.0}, {"CPU": 1.0}], 3, "auto", Seats(3, 1, 0)),  # of 2 each the larger node has room for two
        ([{}, {"CPU": 4.0}], 1, "auto", Seats(1, 4, 0)),  # a head that only directs
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}], 1, "auto", Seats(2, 8, 1)),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}], 9, "cuda", Seats(3, 4, 1)),
        ([{"CPU": 16.0, "GPU": 2.0}], 4, "cpu", Seats(4, 4, 0)),
    ],
)
def test_every_gpu_has_a_worker_and_without_gpus_the_workers_share_the_cpus(
    nodes: list[dict[str, float]], workers: int, device: str, seats: Seats
) -> None:
    assert seats_for(nodes, workers, device) == seats
    assert seats.device == ("cuda" if seats.gpus else "cpu")


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "said"),
    [
        ([{"CPU": 2.0}], 3, "auto", "3 workers were asked for, and the Ray cluster has 2 CPUs; lower --workers"),
        ([], 1, "auto", "has 0 CPUs"),
        ([{"CPU": 8.0, "GPU": 2.0}], 1, "cuda:1", "Ray uses all GPUs; use --device cuda"),
        ([{"CPU": 8.0}], 1, "cuda", "no node of the Ray cluster has a GPU; use --device cpu"),
    ],
)
def test_what_a_cluster_can_t_give_is_told_in_one_line(
    nodes: list[dict[str, float]], workers: int, device: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        seats_for(nodes, workers, device)
