"""What is installed from a wheel is whole: configs, model cards and the schema travel with the code."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import radseg.bundles

ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_a_wheel_holds_every_bundle_and_runs_from_anywhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("radseg/")}
        archive.extractall(tmp_path / "site")
    expected = {
        "train.json",
        "evaluate.json",
        "inference.json",
        "metadata.json",
        "logging.conf",
        "LICENSE",
        "README.md",
    }
    for bundle in radseg.bundles.names():
        assert {f"radseg/bundles/{bundle}/{file}" for file in expected} <= names
    assert {"radseg/pipelines/metadata_schema.json", "radseg/networks/py.typed"} <= names
    assert "radseg/pipelines/encoder_tables/densenet121.json" in names
    page = {
        "case_page/template.html",
        "vendor/niivue/niivue.umd.js",
        "vendor/niivue/LICENSE",
        "vendor/niivue/THIRD_PARTY_LICENSES",
    }
    assert {f"radseg/pipelines/report/{file}" for file in page} <= names
    assert not [name for name in names if name.endswith((".dcm", ".nii.gz"))]
    program = (
        "import sys; sys.path.insert(0, 'site'); import radseg.bundles; "
        "assert 'site' in radseg.bundles.__file__; from radseg.pipelines.validate import validate; "
        "sys.exit(any(validate(name) for name in radseg.bundles.names()))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
