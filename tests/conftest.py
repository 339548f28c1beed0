"""What several tests need: small networks' weights, the command line, the real images if they are here."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# several tests at once on few cores: threads that wait for each other's core cost ten times what they gain
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

import torch

torch.set_num_threads(1)
# importing openvino reports that it was; the engine keeps it from that, and so do tests that import it themselves
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

ROOT = Path(__file__).parents[1]
SAMPLE_DATA = ROOT / "sample_data"
REAL_DATA = ROOT.parent / "shared" / "data"

# narrow networks on small windows: what is tested with them doesn't depend on how wide they are
SMALL: dict[str, dict[str, Any]] = {
    "spine": {"network_def#features": [4, 8, 16, 32, 64], "roi_size": [32, 32, 32], "spacing_mm": [3.0, 3.0, 3.0]},
    "lung_ct": {"network_def#features": [4, 8, 16, 32], "image_size": 64},
    "lung_xray": {"network_def#features": 4, "image_size": 64},
    "pelvis_xray": {"network_def#encoder": "mobilenetv2", "image_size": 64},
}


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder for the run, shared by its workers: nothing is read from or left in the user's own caches."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "home"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture
def real_data() -> Path:
    """Folder of the real images; tests that need them are skipped where it isn't."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real images (../shared/data) are not here")
    return REAL_DATA


@pytest.fixture(scope="session")
def small() -> dict[str, dict[str, Any]]:
    """The overrides, by bundle, that go with `small_weights`."""
    return SMALL


@pytest.fixture(scope="session")
def small_options() -> Callable[[str], list[str]]:
    """The same as they are written on a command line."""
    return lambda bundle: [text for key, value in SMALL[bundle].items() for text in (f"--{key}", _written(value))]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of the small networks, random but always the same, whose masks aren't empty."""
    from radseg.networks import AttentionUNet, EncoderUNet, LungUNet, SpineFusionNet

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    networks = {
        "spine": SpineFusionNet(3, 1, 3, SMALL["spine"]["network_def#features"]),
        "lung_ct": AttentionUNet(features=SMALL["lung_ct"]["network_def#features"]),
        "lung_xray": LungUNet(features=SMALL["lung_xray"]["network_def#features"]),
        "pelvis_xray": EncoderUNet(SMALL["pelvis_xray"]["network_def#encoder"]),
    }
    with torch.no_grad():
        networks["lung_xray"].output.weight.mul_(100)
        networks["lung_xray"].output.bias.fill_(0.22)
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pt")
    return {name: folder / f"{name}.pt" for name in networks}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def radseg(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command line in this process."""
    import logging
    import warnings

    import typer

    from radseg.pipelines.cli import app

    command = typer.main.get_command(app)

    def run(*arguments: str | Path) -> Ended:
        levels = {name: logging.getLogger(name).level for name in ("", "radseg", "matplotlib", "PIL", "pydicom")}
        handlers = logging.root.handlers[:]
        capfd.readouterr()
        with warnings.catch_warnings():
            try:
                result = command.main(
                    [str(argument) for argument in arguments], prog_name="radseg", standalone_mode=True
                )
                code = int(result or 0)
            except SystemExit as end:
                code = int(end.code or 0)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        logging.root.handlers[:] = handlers
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run
