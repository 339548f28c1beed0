"""Batch inference: all images, or those without a label, one by one; one that fails is told and passed over."""

import logging
from collections.abc import Callable
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.utils.others.generic import remove_file

from radseg.pipelines.errors import RadsegError
from radseg.pipelines.label_server.refused import Refused

_logger = logging.getLogger("radseg.label_server")
_CHOICES = ("all", "labeled", "unlabeled")


class BatchInfer(BatchInferTask):
    """Segments many images and saves each mask as a label (`original`, or the request's `label_tag`)."""

    def __call__(
        self, request: dict[str, Any], datastore: Datastore, infer: Callable[[dict[str, Any], Datastore], Any]
    ) -> dict[str, Any]:
        """What became of each image: "done", or why not.

        Raises:
            Refused: an unknown choice of images, or no image at all.
        """
        images = request.get("images", "all")
        if not isinstance(images, list) and str(getattr(images, "value", images)) not in _CHOICES:
            raise Refused(400, f"images must be one of {', '.join(_CHOICES)}, or a list of ids")
        chosen = sorted(self.get_images(request, datastore))
        most = int(request.get("max_batch_size") or 0)
        chosen = chosen[: most or None]
        tag = request.get("label_tag") or "original"
        result: dict[str, Any] = {}
        for number, image in enumerate(chosen, 1):
            try:
                given = infer({**request, "image": image, "save_label": True, "label_tag": tag}, datastore)
                remove_file(given["file"])
                result[image] = "done"
            except Refused as error:
                if error.status_code in (409, 503):  # of the model: no other image would do better
                    raise
                result[image] = str(error)
            except (RadsegError, OSError) as error:
                result[image] = f"failed ({type(error).__name__})"
            _logger.info("batch: %d of %d done", number, len(chosen))
        failed = sum(one != "done" for one in result.values())
        _logger.info("batch: %d images segmented, %d failed", len(result) - failed, failed)
        return result
