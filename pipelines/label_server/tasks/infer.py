"""Inference: the serving version of a model segments one listed image, exactly as `radseg segment` does."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from radseg.pipelines.errors import ConfigError, RadsegError, WeightsError, one_line
from radseg.pipelines.hiding import files_of, without_paths
from radseg.pipelines.label_server.models.label_info import label_colours, label_info, label_numbers
from radseg.pipelines.label_server.models.serving import Described, Serving
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.tasks import mask_file


class Infer(InferTask):
    """A model as MONAI Label runs it: a request with the path of a listed image in, a mask's file and numbers out.

    Args:
        described: the model.
        serving: gives its serving version.
    """

    def __init__(self, described: Described, serving: Serving) -> None:
        pictures = described.modality == "DX"
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=label_numbers(described.segments),
            dimension=2 if pictures else 3,
            description=described.description,
            config={"label_colors": label_colours(described.segments)},
        )
        self.described = described
        self.serving = serving

    def info(self) -> dict[str, Any]:
        """What clients are told of the model: labels with colours and coded terms, and which version serves."""
        version = self.serving.versions.serving(self.described.name)
        told: dict[str, Any] = super().info()
        coded = label_info(self.described.name, self.described.segments)
        return {**told, "label_info": coded, "version": version.number, "not_a_medical_device": True}

    def is_valid(self) -> bool:
        """Whether it has weights; without them clients aren't offered it."""
        return self.serving.versions.serving(self.described.name).weights is not None

    def get_path(self, validate: bool = True) -> str | None:
        """The weights of the version that serves."""
        weights = self.serving.versions.serving(self.described.name).weights
        return None if weights is None else str(weights)

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segments `request["source"]`; the caller deletes the file that is given back.

        `result_extension`, `result_dtype` and `result_compress` of the request say how the mask is written.

        Raises:
            Refused: the image or the model can't be used.
        """
        start = time.monotonic()
        source, name = Path(request["source"]), self.described.name
        try:
            predicted = self.serving.predict(name, source)
            read_and_run = time.monotonic()
            volume, mask = predicted.volume, predicted.prediction.mask
            extension = mask_file.extension_of(volume, request.get("result_extension"))
            file = _temporary(extension)
            try:
                compress = str(request.get("result_compress", False)).lower() == "true"
                mask_file.write(file, predicted.case, volume, mask, request.get("result_dtype"), compress)
            except BaseException:
                file.unlink(missing_ok=True)
                raise
        except Refused:
            raise
        except (RadsegError, OSError) as error:
            raise refusal(error, source, str(request["image"])) from error
        end = time.monotonic()
        told = {
            "label_names": self.labels,
            "label_info": label_info(name, self.described.segments),
            "model": name,
            "version": predicted.version.number,
            "weights_sha256": predicted.version.weights_sha256,
            "warnings": predicted.warnings,
            "centroids": {},
            "latencies": {
                **predicted.prediction.seconds,
                "infer": round(read_and_run - start, 3),
                "write": round(end - read_and_run, 3),
                "total": round(end - start, 3),
            },
        }
        return str(file), told


def refusal(error: Exception, source: Path, image: str) -> Refused:
    """An error as a client is told of it: without paths of the server, with the status that says whose fault it is."""
    line = without_paths(one_line(error), files_of(source), image)
    if isinstance(error, OSError):
        if not source.exists():
            return Refused(404, f"image {image!r} was removed while it was worked on; list the images again")
        return Refused(507, f"{image}: can't be written ({error.strerror}); free some space on the server")
    if isinstance(error, ConfigError | WeightsError):
        return Refused(503, line)
    if not source.exists():
        return Refused(404, f"image {image!r} was removed while it was worked on; list the images again")
    return Refused(422, line)


def _temporary(extension: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="mask-", suffix=extension)
    os.close(descriptor)
    return Path(name)
