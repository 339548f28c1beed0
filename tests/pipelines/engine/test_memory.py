"""A volume that lies mapped in its file goes through the engine without ever being copied into memory."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (512, 512, 320)

PROGRAM = """
import re, sys, threading, time
import torch
from pathlib import Path
from monai.transforms import Compose, Orientationd
from radseg.pipelines.engine import Members, Predictor, Restore, SpineFinder, WindowInferer
from radseg.pipelines.io import LoadCased, load_volume, nifti_voxels
from radseg.transforms import ResampleToSpacingd, WindowHUd

class Threshold(torch.nn.Module):
    def forward(self, image):
        return torch.cat([0.5 - image, image - 0.5], 1)

nifti_voxels.MAPPED_FROM_BYTES = 0  # as if the volume were larger

def anonymous_mb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

predictor = Predictor(
    LoadCased("image"),
    Compose([
        ResampleToSpacingd("image", 4.0, axcodes="RAS"), Orientationd("image", axcodes="RAS", labels=None),
        WindowHUd("image", -200.0, 1200.0, in_place=True),
    ]),
    Members([Threshold()]), WindowInferer(32, overlap=0.5), Compose([]), torch.device("cpu"), Restore("softmax"),
    [SpineFinder()],
)
most, done = [anonymous_mb()] * 2, threading.Event()
def watch():
    while not done.wait(0.002):
        most[1] = max(most[1], anonymous_mb())
watcher = threading.Thread(target=watch); watcher.start()
mask = predictor(load_volume(Path(sys.argv[1]))).mask
done.set(); watcher.join()
print(mask.shape, int(mask.sum()), most[1] - most[0])
"""


def test_memory_beside_the_mask_is_a_fraction_of_the_volume(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([0.8, 0.8, 1.0, 1.0]))
    image.dataobj[:] = -1000
    image.dataobj[100:400, 100:400, 50:250] = 1000
    nib.save(image, tmp_path / "ct.nii")
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "ct.nii")], capture_output=True, text=True, check=True
    )
    *_, voxels, grown_mb = ended.stdout.split()
    assert int(voxels) > 0
    as_float32_mb, mask_mb = np.prod(SHAPE) * 4 / 2**20, np.prod(SHAPE) / 2**20
    assert float(grown_mb) < mask_mb + as_float32_mb / 3
