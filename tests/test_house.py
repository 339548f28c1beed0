"""The house rules that a tool can hold: packages as folders, one name for code, no foreign paths."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("networks", "transforms", "pipelines", "bundles", "sample_data")


def test_the_package_list_is_the_tree() -> None:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        setuptools = tomllib.load(stream)["tool"]["setuptools"]
    tree = {
        "radseg." + ".".join(file.parent.relative_to(ROOT).parts)
        for folder in CODE
        for file in (ROOT / folder).rglob("__init__.py")
    }
    assert set(setuptools["packages"]) == tree
    assert {name: f"radseg.{path.replace('/', '.')}" for name, path in setuptools["package-dir"].items()} == {
        name: name for name in tree
    }


def _python_files() -> list[Path]:
    return [file for folder in (*CODE, "tests") for file in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("file", _python_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_code_says_radseg_and_never_the_bare_folder(file: Path) -> None:
    bare = re.findall(rf"^\s*(?:from|import) (?:{'|'.join(CODE)})\b.*$", file.read_text(), re.MULTILINE)
    assert bare == []


@pytest.mark.parametrize(
    "config", sorted(ROOT.glob("bundles/*/*.json")), ids=lambda file: f"{file.parent.name}/{file.name}"
)
def test_every_target_of_a_bundle_is_monai_torch_or_radseg(config: Path) -> None:
    targets = re.findall(r'"_target_": "([^"]+)"', json.dumps(json.loads(config.read_text())))
    foreign = [t for t in targets if "." in t and t.split(".")[0] not in {"radseg", "torch", "monai"}]
    assert foreign == []


def test_networks_need_torch_alone_but_for_those_that_monai_has_ready() -> None:
    names = ("encoders/densenet121.py", "comparison/unets.py", "comparison/deeplab_v3_plus.py")
    ready_made = [ROOT / "networks" / name for name in names]
    for file in (ROOT / "networks").rglob("*.py"):
        found = set(re.findall(r"^(?:from|import) ([a-z_0-9]+)", file.read_text(), re.MULTILINE))
        allowed = {"torch", "radseg", *(["monai"] if file in ready_made else [])}
        assert found - set(sys.stdlib_module_names) <= allowed, file


def test_help_loads_no_heavy_library() -> None:
    # the promise behind a quick `radseg --help`, without a clock
    heavy = "{'torch', 'monai', 'numpy', 'matplotlib', 'pydicom', 'nibabel'}"
    program = f"import sys, radseg.pipelines.cli; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_constraints_hold_torch_at_the_cpu_build() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in lines
    assert not [line for line in lines if line.startswith(("nvidia", "triton", "torchvision", "timm"))]
