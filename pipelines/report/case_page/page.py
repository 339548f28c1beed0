"""Writes the page of a case: one HTML file that needs neither network nor other files."""

import base64
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.cases import Case
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io import Volume
from radseg.pipelines.report.case_page import content
from radseg.pipelines.report.case_page.identity import identity_of
from radseg.pipelines.report.case_page.scene import Scene, scene_of

FILE = "report.html"

_HERE = Path(__file__).parent
_NIIVUE = _HERE.parent / "vendor" / "niivue"
_SCRIPTS = {
    "volume": [
        _NIIVUE / "niivue.umd.js",
        *(_HERE / name for name in ("unpack.js", "plane.js", "solid.js", "view.js", "viewer.js")),
    ],
    "picture": [_HERE / name for name in ("unpack.js", "plane.js", "view.js", "viewer.js")],
}


class CasePage:
    """Writes `report.html` into the folder of each case, if that is wanted.

    The page shows the image with its mask (planes and pictures on canvases of its own, 3D through NiiVue), the
    measurements, the warnings, and what was done. It holds all it needs, and its Content-Security-Policy forbids every
    connection. It names nobody but the case, unless that is asked for.

    Args:
        wanted: whether there is to be a page at all.
        with_identity: name, id and study date of the DICOM header on the page.
        labels: names of the labels 1, 2, ….
        window_hu: lower and upper HU that the page opens with.

    Raises:
        ConfigError: identities are wanted on a page that isn't.
    """

    def __init__(
        self,
        wanted: bool = False,
        with_identity: bool = False,
        labels: Sequence[str] = (),
        window_hu: Sequence[float] = (-1000.0, 1000.0),
    ) -> None:
        if with_identity and not wanted:
            raise ConfigError("with_identity puts names on the page of a case; ask for the page too: --report")
        self.wanted = wanted
        self.with_identity = with_identity
        self.labels = tuple(labels)
        self.window_hu = (float(window_hu[0]), float(window_hu[1]))

    def files(self) -> set[str]:
        """Names of the files that a case gets."""
        return {FILE} if self.wanted else set()

    def recorded(self) -> dict[str, bool]:
        """What the manifest has of the page's kind, so that a wish for another kind is noticed."""
        return {"with_identity": self.with_identity} if self.wanted else {}

    def write(
        self,
        folder: Path,
        case: Case,
        volume: Volume,
        mask: npt.NDArray[np.uint8],
        statistics: Mapping[str, Any],
        seconds: Mapping[str, float],
        effort: Mapping[str, Any],
        device: str,
        uncertainty: npt.NDArray[np.uint8] | None = None,
        uncertainty_is: str = "",
    ) -> None:
        """Writes the page of a case, if it is wanted.

        Args:
            folder: where to; the preview in it becomes part of the page.
            case: what was segmented.
            volume: its image.
            mask: labels on its grid.
            statistics: as in statistics.json.
            seconds: of each stage until now.
            effort: what the network was run on, as `Effort`.
            device: such as cpu or cuda:0.
            uncertainty: of each voxel, 0–255 for 0–1, if it is known; becomes a layer, hidden at first.
            uncertainty_is: what that is, in a sentence.

        Raises:
            OSError: the page can't be written.
        """
        if not self.wanted:
            return
        scene = scene_of(volume, mask, uncertainty, self.labels, self.window_hu)
        preview = base64.b64encode((folder / "preview.png").read_bytes()).decode("ascii")
        done = content.provenance(statistics, seconds, effort, device, importlib.metadata.version("radseg"))
        identity = identity_of(case) if self.with_identity else {}
        values = {
            "case": content.text(case.name),
            "identity": content.pairs(identity) if identity else "",
            "flags": content.sentences(statistics.get("flags") or (), "flags"),
            "warnings": content.sentences(content.warnings_of(statistics), "warning") or "<p>None.</p>",
            "labels": content.label_rows(scene.said["labels"]),
            "measurements": content.measurements_table(statistics),
            "regions": content.regions_table(statistics),
            "uncertainty": f"<p>{content.text(uncertainty_is)}</p>" if uncertainty_is else "",
            "preview": preview,
            "done": content.pairs(done),
            "reduced": f"<p>{content.text(scene.note)}</p>" if scene.note else "",
        }
        with (folder / FILE).open("w", encoding="utf-8", errors="replace", newline="") as stream:
            stream.writelines(_page(scene, values))


def _page(scene: Scene, values: Mapping[str, str]) -> Iterator[str]:
    """The page in pieces, since what is packed in it may be large."""
    kind = "picture" if scene.said["flat"] else "volume"
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    scripts = [file.read_text(encoding="utf-8") for file in _SCRIPTS[kind]]
    allowed = " ".join(f"'{_csp_hash(script)}'" for script in scripts)
    before, after = (_HERE / "template.html").read_text(encoding="utf-8").split("$data")
    values = {**values, "kind": kind, "style": style, "style_hash": _csp_hash(style), "script_hashes": allowed}
    values["notices"] = _notices() if kind == "volume" else ""
    yield Template(before).substitute(values)
    yield f'<script type="application/json" id="said">{_in_script(scene.said)}</script>\n'
    for name, packed in scene.packed.items():
        yield f'<script type="text/plain" id="{name}">'
        yield packed
        yield "</script>\n"
    for script in scripts:
        yield "<script>"
        yield script
        yield "</script>\n"
    yield after


def _notices() -> str:
    """Copyright and licences of the code that draws in 3D, which ask to go wherever it goes."""
    licences = "\n".join((_NIIVUE / name).read_text(encoding="utf-8") for name in ("LICENSE", "THIRD_PARTY_LICENSES"))
    said = "3D is drawn by NiiVue (BSD-2-Clause): its licence, and those of what it contains"
    return f"<details><summary>{said}</summary><pre>{content.text(licences)}</pre></details>"


def _in_script(value: Any) -> str:
    """JSON that can't end the script block that it stands in, nor open a comment there."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
