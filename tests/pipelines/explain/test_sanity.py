"""The sanity test of Adebayo et al.: random weights change a map that shows what the network learnt."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from radseg.networks import AttentionUNet, EncoderUNet, LungUNet, SpineFusionNet
from radseg.pipelines.explain import explain
from radseg.pipelines.explain.cam import RegionCAM
from radseg.pipelines.explain.sanity import STILL_ALIKE, cascade, parts_in_order, randomise, rank_correlation

SAMPLES = Path(__file__).parents[3] / "sample_data"

# the same weights in every process: two random networks may well draw maps alike, if rarely
with torch.random.fork_rng():
    torch.manual_seed(0)
    NETWORKS = {
        "lung_ct": (AttentionUNet(features=[4, 8, 16, 32]), "bottleneck", (1, 1, 64, 64)),
        "lung_xray": (LungUNet(features=4), "bottleneck", (1, 1, 64, 64)),
        "pelvis_xray": (EncoderUNet("mobilenetv2"), "decoder.stage2", (1, 3, 64, 64)),
        "spine": (SpineFusionNet(3, 1, 3, [4, 8, 16, 32, 64]), "lprab", (1, 1, 32, 32, 32)),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_random_weights_change_the_map_of_every_network(name: str) -> None:
    network, layer, shape = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.rand(shape)
    region = (x[0, 0] > 0.5).float()
    rows = cascade(RegionCAM(network, layer, "gradcam"), x, region, 1, max(1, 2 * (name == "spine")))
    assert rows[0]["randomised"] in ("output", "head", "decoder")
    assert len(rows[-1]["draws"]) == 5
    drawn = [one for one in rows[-1]["draws"] if one is not None]
    mean = rows[-1]["rank_correlation"]
    assert (mean is None) == (not drawn)
    assert mean is None or mean == pytest.approx(np.mean(drawn), abs=1e-4)
    assert mean is None or abs(mean) < STILL_ALIKE


@pytest.mark.parametrize(
    "name", ["lung_xray", *(pytest.param(name, marks=pytest.mark.long) for name in ("lung_ct", "pelvis_xray"))]
)
def test_random_weights_change_what_the_shipped_weights_show(name: str, tmp_path: Path) -> None:
    image = sorted((SAMPLES / name / ("slices" if name == "lung_ct" else "imagesTr")).glob("*.png"))[0]
    (record,) = explain(name, image, tmp_path, sanity=True, device="cpu", progress=False).done.values()
    assert record["sanity"][-1]["rank_correlation"] < STILL_ALIKE
    assert not any("hardly depends" in one for one in record["warnings"])
    inside, chance = (
        next(row["value"] for row in record["measurements"] if row["name"] == f"{what} inside the prediction")
        for what in ("heatmap", "explained part")
    )
    assert inside > 1.5 * chance


def test_the_cascade_goes_from_the_output_to_the_input() -> None:
    network = LungUNet(features=4)
    parts = parts_in_order(network, lambda: network.eval()(torch.zeros(1, 1, 32, 32)))
    assert parts[:2] == ["encoder.0", "encoder.1"]
    assert parts[4:7] == ["bottleneck", "up.0", "decoder.0"]
    assert parts[-1] == "output"


def test_a_frame_around_a_network_counts_as_the_network() -> None:
    frame = nn.Sequential(AttentionUNet(features=[4, 8]))
    parts = parts_in_order(frame, lambda: frame.eval()(torch.zeros(1, 1, 16, 16)))
    assert parts[0] == "0.encoder.level1"
    assert parts[-1] == "0.output"


def test_one_seed_gives_one_result_and_the_network_itself_is_spared() -> None:
    network, layer, shape = NETWORKS["lung_ct"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    x, region = torch.rand(shape), torch.ones(shape[2:])
    runs = [cascade(RegionCAM(network, layer, "gradcam++"), x, region, 1, 1, seed=3) for _ in range(2)]
    assert runs[0] == runs[1]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_random_weights_keep_about_their_size() -> None:
    layer = nn.Conv2d(32, 32, 3)
    with torch.no_grad():
        layer.weight.add_(2.0)
    before = layer.weight.detach().clone()
    randomise(layer, torch.Generator().manual_seed(0))
    after = layer.weight.detach()
    assert not torch.equal(before, after)
    assert float(after.mean()) == pytest.approx(float(before.mean()), abs=0.01)
    assert float(after.std()) == pytest.approx(float(before.std()), rel=0.05)


def test_ranks_are_compared_and_a_map_without_ranks_has_no_correlation() -> None:
    values = np.arange(20.0)
    assert rank_correlation(values, values**3) == 1
    assert rank_correlation(values, -values) == -1
    assert rank_correlation(values, np.zeros(20)) is None
