"""The network alone as TorchScript, ONNX and OpenVINO IR: the same logits, the same bytes, nothing of this machine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import load

from radseg.networks import LungUNet, SpineFusionNet
from radseg.pipelines.engine.runtime.quiet_openvino import openvino_core
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.pack import pack
from radseg.pipelines.pack.exports import FORMS, _write_onnx, export, write_exports

FILES = [file for files in FORMS.values() for file in files]


@pytest.fixture(scope="module")
def exported(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    folder = pack(small_bundle, tmp_path_factory.mktemp("exported"), trust_config=True)
    write_exports(folder, list(FORMS))
    return folder


@pytest.fixture(scope="module")
def network(exported: Path) -> LungUNet:
    network = LungUNet(1, 1, features=4)
    network.load_state_dict(torch.load(exported / "models" / "model.pt", weights_only=True))
    return network.eval()


@pytest.mark.parametrize("file", ["model.ts", "model.onnx", "model.xml"])
def test_an_export_gives_the_networks_logits(file: str, exported: Path, network: LungUNet) -> None:
    image = torch.randn(1, 1, 64, 64)
    path = exported / "models" / file
    with torch.no_grad():
        wanted = network(image)
        if file == "model.ts":
            got = torch.jit.load(path)(image)
        else:
            model = openvino_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            assert (model.input(0).any_name, model.output(0).any_name) == ("image", "pred")
            got = torch.from_numpy(model({"image": image.numpy()})["pred"])
    # float32 summed in another order
    assert torch.allclose(got, wanted, atol=1e-4 * wanted.abs().max().item())


def test_the_onnx_file_is_one_by_onnxs_own_check(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported / "models" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [one.name for one in (*model.graph.input, *model.graph.output)] == ["image", "pred"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
def test_positions_that_the_exporter_takes_for_float64_become_float32(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(0)
    network = SpineFusionNet(3, 1, 3, [4, 8, 16, 32, 64]).eval().requires_grad_(False)
    image = torch.rand(1, 1, 32, 32, 32)
    got = _write_onnx(network, image, tmp_path / "model.onnx")(image)
    wanted = network(image)
    assert torch.allclose(got, wanted, atol=1e-4 * wanted.abs().max().item())
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert onnx.TensorProto.DOUBLE not in {tensor.data_type for tensor in graph.initializer}
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_monai_loads_the_torchscript_with_its_metadata_and_config(exported: Path) -> None:
    _, about, files = load(
        exported.name, bundle_dir=exported.parent, source="github", load_ts_module=True, device="cpu",
        config_files=("inference.json",),
    )  # fmt: skip
    configs = exported / "configs"
    assert about["weights_sha256"] == json.loads((configs / "metadata.json").read_text())["weights_sha256"]
    assert json.loads(files["inference.json"]) == json.loads((configs / "inference.json").read_text())


@pytest.mark.parametrize("file", FILES)
def test_an_export_tells_nothing_of_this_machine(file: str, exported: Path) -> None:
    content = (exported / "models" / file).read_bytes()
    for place in (str(Path.cwd()), str(exported), str(Path(torch.__file__).parents[1]), str(Path(__file__).parents[3])):
        assert place.encode() not in content


def test_a_size_that_isnt_fixed_cant_be_exported(small_bundle: Path, tmp_path: Path) -> None:
    folder = pack(small_bundle, tmp_path, trust_config=True)
    _without_a_fixed_size(folder / "configs" / "metadata.json")
    with pytest.raises(ConfigError, match="whole numbers"):
        write_exports(folder, ["onnx"])


def test_an_export_that_computes_something_else_is_refused(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pack(small_bundle, tmp_path, trust_config=True)
    monkeypatch.setattr("radseg.pipelines.pack.exports._write_openvino", lambda *_: lambda image: image * torch.nan)
    with pytest.raises(ConfigError, match="as openvino its logits are nan away"):
        write_exports(folder, ["openvino"])


def test_no_form_asked_for_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("subprocess.run")
    assert export(tmp_path, []) == []


@pytest.mark.long
def test_what_the_exporting_process_says_is_the_error(small_bundle: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(small_bundle, tmp_path / "mine")
    _without_a_fixed_size(mine / "metadata.json")
    with pytest.raises(ConfigError, match=r"^metadata.json: spatial_shape .* must be whole numbers for an export$"):
        pack(mine, tmp_path / "out", onnx=True, trust_config=True)
    assert list((tmp_path / "out").iterdir()) == []


def _without_a_fixed_size(metadata: Path) -> None:
    about = json.loads(metadata.read_text())
    about["network_data_format"]["inputs"]["image"]["spatial_shape"] = ["16*n", 64]
    metadata.write_text(json.dumps(about))


@pytest.mark.long
@pytest.mark.parametrize("bundle", ["lung_xray", "pelvis_xray"])
def test_packing_with_all_exports_again_gives_the_same_bytes(
    bundle: str, tmp_path: Path, bytes_below: Callable[..., dict[str, Any]]
) -> None:
    pytest.importorskip("onnx")
    first, second = (pack(bundle, tmp_path / place, torchscript=True, onnx=True, openvino=True) for place in ("a", "b"))
    assert {f"models/{file}" for file in FILES} <= set(bytes_below(first))
    assert bytes_below(first) == bytes_below(second)
    alone = pack(bundle, tmp_path / "c", openvino=True)
    for file in FORMS["openvino"]:
        assert (alone / "models" / file).read_bytes() == (first / "models" / file).read_bytes()
