"""Makes the two pictures of docs/report.md from sample_data, in headless Chromium: `python docs/report_pictures.py`."""

import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import Browser  # noqa: E402
from page_factory import write_page  # noqa: E402

from radseg.pipelines.cases import Case, InputKind  # noqa: E402
from radseg.pipelines.io import load_volume  # noqa: E402

SPINE, PELVIS = ROOT / "sample_data" / "spine", ROOT / "sample_data" / "pelvis_xray" / "imagesTr" / "pelvis03.png"

with tempfile.TemporaryDirectory() as folder, Browser(Path(folder) / "profile") as browser:
    image = SPINE / "imagesTr" / "spine04.nii.gz"
    mask = np.asarray(nib.load(SPINE / "labelsTr" / image.name).dataobj).astype(np.uint8)
    case = Case("spine04", InputKind.NIFTI, (image,), image)
    spine = write_page(Path(folder), load_volume(image), mask, ["vertebra", "fractured vertebra"], case)
    radseg = Path(sys.executable).with_name("radseg")
    command = [radseg, "segment", "pelvis_xray", PELVIS, "--output", folder, "--report", "--tta", "flips"]
    subprocess.run(command, check=True)
    pelvis = Path(folder) / "pelvis03" / "report.html"
    for file, shown, name in (
        (spine, "view.solid.open().then(() => press('2'))", "report_spine.png"),
        (pelvis, "press('u')", "report_pelvis.png"),
    ):
        page = browser.page(1200, 820)
        page.open(file.as_uri())
        page.wait_for("document.documentElement.dataset.state === 'ready'")
        page.run(shown)
        page.frame()
        page.picture(keep=ROOT / "docs" / name)
