"""The models of a server as they are loaded: each version's one path from image to mask, kept while it serves."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

import radseg.bundles
from radseg.pipelines.bundle_loader import find_bundle, read_json, run_workflow
from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.dicom_out.segments import Segment, segments_of
from radseg.pipelines.engine import Prediction, Predictor
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume
from radseg.pipelines.io.load import as_case
from radseg.pipelines.label_server.models.versions import Version, Versions
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.plausibility import Plausibility
from radseg.pipelines.segment import workflow_of


@dataclass(frozen=True, eq=False)
class Loaded:
    """A version of a model, ready to run.

    Attributes:
        version: which.
        predictor: image to mask, as `segment` has it.
        plausibility: says what is out of place in an image.
    """

    version: Version
    predictor: Predictor
    plausibility: Plausibility

    def case(self, source: Path) -> Case:
        """The only image that a file or folder holds, as this model reads it.

        Raises:
            InputError: none, several, or not one for this model.
        """
        loader = self.predictor.loader
        return as_case(source, modality=loader.modality, min_slices=loader.min_slices)

    def read(self, case: Case) -> Volume:
        """The image of a case; errors as `case`."""
        return self.predictor.loader.load_image(case)


@dataclass(frozen=True)
class Described:
    """What can be said of a model before it is loaded.

    Attributes:
        name: the bundle's.
        description: one sentence.
        modality: DICOM Modality of its images; DX stands for every kind of radiograph.
        segments: its labels in coded terms.
        any_label: whether every value above 0 counts as its one label.
        min_slices: fewest slices of a volume.
    """

    name: str
    description: str
    modality: str
    segments: tuple[Segment, ...]
    any_label: bool
    min_slices: int

    @classmethod
    def of(cls, name: str) -> "Described":
        """The description of a bundle that radseg ships.

        Raises:
            ConfigError: no such bundle, or one without coded terms.
        """
        folder = radseg.bundles.configs(find_bundle(name))
        metadata, recipe = read_json(folder / "metadata.json"), read_json(folder / "inference.json")
        labels = recipe["labels"] if isinstance(recipe["labels"], list) else list(metadata["segments"])
        steps = recipe["preprocessing"]["transforms"]
        any_label = any(isinstance(step, dict) and step.get("label") == "any" for step in steps)
        segments = segments_of(folder, labels)
        least = int(recipe.get("min_slices", 1))
        return cls(name, metadata["description"], recipe["modality"], segments, any_label, least)

    def reads(self, source: Path) -> bool:
        """Whether a file or folder is an image of the kind that this model reads."""
        try:
            kind = as_case(source, modality=self.modality, min_slices=self.min_slices).kind
        except InputError:
            return False
        picture = kind in (InputKind.PNG, InputKind.JPEG)
        if self.modality == "DX":
            return picture or kind == InputKind.DICOM
        return not picture or self.min_slices == 1


class Serving:
    """Gives each model's serving version, loaded when first used and again when another serves.

    Safe to share between threads.

    Args:
        versions: where they are.
        names: of the models.
        device: auto, cpu, cuda or cuda:N.

    Attributes:
        models: what can be said of each model, by its name.

    Raises:
        ConfigError: no such bundle.
    """

    def __init__(self, versions: Versions, names: Sequence[str], device: str = "auto") -> None:
        self.versions = versions
        self.models = {name: Described.of(name) for name in names}
        self.device = device
        self._kept: dict[tuple[str, str | None], Loaded] = {}
        self._lock = threading.Lock()

    def most_label(self) -> int | None:
        """Highest label that any of the models knows; None where one of them takes all as the same."""
        if any(model.any_label for model in self.models.values()):
            return None
        return max((len(model.segments) for model in self.models.values()), default=None)

    def loaded(self, name: str, tta: str | None = None) -> Loaded:
        """The version of a model that serves.

        Args:
            name: of the model.
            tta: `flips` for a predictor that averages over mirror images and says how uncertain each voxel is.

        Raises:
            Refused: it has no weights yet.
            RadsegError: its weights or config can't be used.
        """
        version = self.versions.serving(name)
        if version.weights is None:
            raise Refused(409, f"{name} has no weights yet: submit labels and train it, or start the server with some")
        with self._lock:
            kept = self._kept.get((name, tta))
            if kept is None or (kept.version.number, kept.version.weights_sha256) != (
                version.number,
                version.weights_sha256,
            ):
                self._kept.pop((name, tta), None)
                kept = self._kept[name, tta] = self._load(version, tta)
        return kept

    def predict(self, name: str, source: Path, tta: str | None = None) -> "Predicted":
        """Segments an image with the version that serves.

        Args:
            name: of the model.
            source: a file, or the folder of a DICOM series.
            tta: as in `loaded`.

        Raises:
            RadsegError: the model or the image can't be used.
        """
        loaded = self.loaded(name, tta)
        case = loaded.case(source)
        volume = loaded.read(case)
        flags = loaded.plausibility(volume, case.files)
        return Predicted(loaded.version, case, volume, loaded.predictor(volume), [*flags, *volume.notes])

    def _load(self, version: Version, tta: str | None) -> Loaded:
        changes = {"device": self.device, "progress": False} | ({"tta": tta} if tta else {})
        # the workspace is written by the server alone, from bundles that radseg ships
        workflow = workflow_of(version.folder, [], version.folder, trust_config=True, **changes)
        predictor, plausibility = run_workflow(_Parts(workflow, ("predictor", "plausibility")))
        return Loaded(version, predictor, plausibility)


@dataclass(frozen=True, eq=False)
class Predicted:
    """What came of an image.

    Attributes:
        version: what segmented it.
        case, volume: the image.
        prediction: its mask and how sure that is.
        warnings: what is doubtful, one line each.
    """

    version: Version
    case: Case
    volume: Volume
    prediction: Prediction
    warnings: list[str]


class _Parts:
    """A workflow whose run makes some of its components and gives them."""

    def __init__(self, workflow: ConfigWorkflow, names: Sequence[str]) -> None:
        self.workflow = workflow
        self.names = names
        self.initialize = workflow.initialize
        self.finalize = workflow.finalize

    def run(self) -> list[list[Any]]:
        return [[self.workflow.parser.get_parsed_content(name) for name in self.names]]
