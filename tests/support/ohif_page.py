"""OHIF's page in a browser as somebody uses it: logs in, connects its MONAI Label panel, runs a model, looks."""

import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from browser import Page

SERVER = "#monailabelServerURL"
CONNECT = ".settingsTable .actionButton"
RUN = ".modelSelector .actionButton"
_PATIENCE_S = 120.0
# the first volume is the study's; a segmentation comes after it
_LOADED = "(([one]) => one && one.framesLoaded === one.imageIds.length)(cornerstone.cache.getVolumes())"
_LABELMAP = "services.segmentationService.getLabelmapVolume('1')"


@dataclass(frozen=True)
class Labelmap:
    """What the viewer shows as segmentation.

    Attributes:
        values: segment numbers, (i, j, k).
        affine_lps: from indices to mm, as DICOM has them.
    """

    values: npt.NDArray[np.uint8]
    affine_lps: npt.NDArray[np.float64]


def log_in(page: Page, token: str) -> None:
    """Fills in the login's page, and waits until another has taken its place."""
    page.wait_for("document.querySelector('input[name=token]')")
    page.click("input[name=token]")
    page.ask("Input.insertText", {"text": token})
    page.run("window.left = false; document.querySelector('form button').click()")
    deadline = time.monotonic() + _PATIENCE_S
    while not _has_left(page):
        assert time.monotonic() < deadline, "no page comes after the login"
        time.sleep(0.05)


def _has_left(page: Page) -> bool:
    try:
        return bool(page.run("window.left !== false && document.readyState === 'complete'"))
    except RuntimeError:  # between two pages there is nobody to ask
        return False


def connect(page: Page) -> None:
    """Waits for the study's images and the panel, hides the notice below them, and connects."""
    page.wait_for(f"document.querySelector('{SERVER}') && window.services && document.querySelector('canvas')")
    page.run("[...document.querySelectorAll('button')].find((one) => /Confirm and Hide/.test(one.innerText))?.click()")
    page.wait_for(_LOADED)
    page.click(CONNECT)
    page.wait_for(f"document.querySelector('{RUN}') && {_LABELMAP}")


def next_sample(page: Page) -> None:
    """Asks the panel for the next image, says yes to what it asks, and waits until that study is open."""
    page.run("[...document.querySelectorAll('button')].find((one) => one.innerText === 'Next Sample').click()")
    page.wait_for("document.querySelector('.nextSampleForm button')")
    page.run("window.confirm = () => true; window.left = false")
    page.run("document.querySelector('.nextSampleForm button').click()")
    deadline = time.monotonic() + _PATIENCE_S
    while not _has_left(page):
        assert time.monotonic() < deadline, "no study comes after the panel's dialog"
        time.sleep(0.05)
    page.wait_for("window.cornerstone && window.services && document.querySelector('canvas')")
    page.wait_for(_LOADED)


def run_model(page: Page) -> None:
    """Presses Run, and waits for the segmentation."""
    page.click(RUN)
    page.wait_for(f"{_LABELMAP}.voxelManager.getCompleteScalarDataArray().some((one) => one > 0)")
    page.frame()


def labelmap(page: Page) -> Labelmap:
    """The segmentation that is shown."""
    told: dict[str, Any] = json.loads(
        page.run(
            f"(() => {{ const one = {_LABELMAP}; return JSON.stringify({{"
            "values: Array.from(one.voxelManager.getCompleteScalarDataArray()), size: Array.from(one.dimensions),"
            "origin: Array.from(one.origin), spacing: Array.from(one.spacing), direction: Array.from(one.direction)"
            "}) })()"
        )
    )
    values = np.array(told["values"], np.uint8).reshape(told["size"], order="F")
    affine = np.eye(4)
    affine[:3, :3] = np.array(told["direction"]).reshape(3, 3).T * told["spacing"]
    affine[:3, 3] = told["origin"]
    return Labelmap(values, affine)
