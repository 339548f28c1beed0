"""The MONAI Label app: models in versions, what is submitted to them, and what may be asked of them."""

import copy
import hashlib
import logging
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.endpoints import infer as infer_endpoint
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

import radseg.bundles
from radseg.pipelines.engine import pick_device
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.models.versions import Versions
from radseg.pipelines.label_server.refused import Refused, not_there
from radseg.pipelines.label_server.store.datastore import LabelStore
from radseg.pipelines.label_server.store.dicomweb_store import MODALITIES, DicomWebStore
from radseg.pipelines.label_server.store.submitted_seg import seg_for_client
from radseg.pipelines.label_server.tasks.batch import BatchInfer
from radseg.pipelines.label_server.tasks.infer import Infer
from radseg.pipelines.label_server.tasks.scoring import Dice, Uncertain
from radseg.pipelines.label_server.tasks.strategies import Chance, Uncertainty
from radseg.pipelines.label_server.tasks.train import Train

_UPLOADED = re.compile(r"tmp[a-z0-9_]{8}(\.[A-Za-z0-9]+){1,3}")
NAME = "radseg"


class Application(MONAILabelApp):
    """Serves radseg's bundles to annotation clients.

    Args:
        app_dir: folder of the app; nothing is written there.
        studies: folder of the images and labels, or the address of a DICOMweb server.
        conf: `workspace` (folder of the versions; required), `bundles` (names, with commas; all by default), `device`
            (auto), `weights` (NAME=FILE, with commas: what version 1 is made with where nothing else is there).

    Raises:
        ConfigError: a key is unknown or missing, or a bundle, device or weights file can't be used.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        # its own loggers repeat requests and, of an archive, patients' ids
        logging.getLogger("monailabel").setLevel(logging.WARNING)
        chosen = _Settings.of(conf)
        self.versions = Versions(chosen.workspace, chosen.weights)
        self.serving = Serving(self.versions, chosen.bundles, chosen.device)
        for name in chosen.bundles:
            self.versions.prepare(name)
        super().__init__(
            app_dir,
            studies,
            conf,
            name=NAME,
            description="Segmentation models of radseg. For research only, not a medical device.",
            version="2",
        )
        self._auto_update_scoring = False  # a score is asked for; it isn't worth a run of all models at every click

    def init_infers(self) -> dict[str, InferTask]:
        """A model for each bundle."""
        return {name: Infer(one, self.serving) for name, one in self.serving.models.items()}

    def init_trainers(self) -> dict[str, TrainTask]:
        """A training for each bundle."""
        return {name: Train(one, self.serving) for name, one in self.serving.models.items()}

    def init_strategies(self) -> dict[str, Strategy]:
        """By chance, or by uncertainty."""
        return {"random": Chance(), "uncertainty": Uncertainty(self.serving)}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Dice of labels, and uncertainty of images without."""
        return {"dice": Dice(self.serving), "uncertainty": Uncertain(self.serving)}

    def init_batch_infer(self) -> BatchInferTask:
        """Images one after the other."""
        return BatchInfer()

    def init_datastore(self) -> Datastore:
        """The folder of images, or the archive."""
        if self.studies.startswith(("http://", "https://")):
            return self._archive()
        return LabelStore(self.studies, most_label=self.serving.most_label())

    def _archive(self) -> DicomWebStore:
        """The DICOMweb archive that `studies` is the address of.

        Raises:
            ConfigError: `itkimage2segimage`, which writes DICOM Segmentations, isn't there.
        """
        if shutil.which("itkimage2segimage") is None:
            raise ConfigError("itkimage2segimage is not on the PATH; pip install 'radseg[label]' brings it")
        # so that a mask which holds the second label alone isn't described as the first
        infer_endpoint.nifti_to_dicom_seg = seg_for_client
        name, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
        client = DICOMwebClientX(
            url=self.studies.strip().rstrip("/"),
            session=create_session_from_user_pass(name, password) if name and password else None,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )
        cache = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip()
        base = Path(cache) if cache else self.versions.workspace / ".archive"
        models = self.serving.models
        modalities = {one for model in models.values() for one in MODALITIES.get(model.modality, (model.modality,))}
        filters = [{"Modality": one} for one in sorted(modalities)]
        if settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER != {"Modality": "CT"}:  # somebody's own
            filters = [settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER]
        return DicomWebStore(
            client,
            base / hashlib.sha256(client.base_url.encode()).hexdigest()[:12],
            filters=filters,
            models=models,
            most_label=self.serving.most_label(),
            expiry_s=min(settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY, 5),
        )

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segments an image that is listed, of the session, or that came with the request.

        Args:
            request: `model` and `image`; `save_label` keeps the mask as label `label_tag`.
            datastore: another one than the app's.

        Raises:
            Refused: an unknown model or image, or one that can't be used.
        """
        name, image = str(request.get("model") or ""), str(request.get("image") or "")
        task = self._infers.get(name)
        if task is None:
            raise Refused(404, f"no model {name!r} here; there are {', '.join(self._infers)}")
        store = datastore or self.datastore()
        listed, source = self._source(request, image, store)
        file, told = task({**copy.deepcopy(request), "source": str(source), "image": image if listed else "the image"})
        label, tag = file, str(request.get("label_tag") or "original")
        if listed and str(request.get("save_label", False)).lower() == "true":
            try:
                label = store.save_label(image, file, tag, {"model": name, "version": told["version"]})
            except BaseException:
                Path(file).unlink(missing_ok=True)
                raise
        return {"label": label, "tag": tag, "file": file, "params": told}

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The image to label next; empty when all have labels.

        Raises:
            Refused: no such strategy.
        """
        strategy = str(request.get("strategy") or "random")
        task = self._strategies.get(strategy)
        if task is None:
            raise Refused(404, f"no strategy {strategy!r}; there are {', '.join(self._strategies)}")
        chosen = task({**request, "strategy": strategy}, self.datastore())
        if not chosen:
            return {}
        return {**chosen, "path": self.datastore().get_image_uri(chosen["id"])}

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Trains a model from the final labels.

        Raises:
            Refused: no such model, or see `Train`.
        """
        name = str(request.get("model") or "")
        task = self._trainers.get(name)
        if task is None:
            raise Refused(404, f"no model {name!r} here; there are {', '.join(self._trainers)}")
        result: dict[str, Any] = task(request, self.datastore())
        return result

    def scoring(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Runs a scoring method.

        Raises:
            Refused: no such method, or nothing to score.
        """
        method = str(request.get("method") or "")
        task = self._scoring_methods.get(method)
        if task is None:
            raise Refused(404, f"no scoring method {method!r}; there are {', '.join(self._scoring_methods)}")
        result: dict[str, Any] = task(dict(request), datastore or self.datastore())
        return result

    def _source(self, request: dict[str, Any], image: str, store: Datastore) -> tuple[bool, Path]:
        """Where an image lies, and whether it is one of the datastore's."""
        if image in store.list_images():
            find = getattr(store, "source", store.get_image_uri)
            return True, Path(find(image))
        path = Path(image)
        session = request.get("session")
        if isinstance(session, dict) and self._sessions is not None and path.is_absolute():
            kept = self._sessions.get_session(path.parent.name)
            if kept is not None and kept.image == image:
                return False, path
        # what came with the request lies where MONAI Label puts it, under a name that it made up
        if path.parent == Path(tempfile.gettempdir()) and _UPLOADED.fullmatch(path.name) and path.is_file():
            return False, path
        raise not_there(image if "/" not in image else path.name)


class _Settings:
    """The app's configuration, checked."""

    KEYS = ("bundles", "workspace", "device", "weights", "server_mode")

    def __init__(self, bundles: list[str], workspace: Path, device: str, weights: dict[str, Path]) -> None:
        self.bundles = bundles
        self.workspace = workspace
        self.device = device
        self.weights = weights

    @classmethod
    def of(cls, conf: dict[str, str]) -> "_Settings":
        for key in conf:
            if key not in cls.KEYS:
                raise ConfigError(f"--conf {key}: unknown; there are {', '.join(cls.KEYS)}")
        if not conf.get("workspace"):
            raise ConfigError("--conf workspace DIR is missing: the folder that holds the models' versions")
        known = radseg.bundles.names()
        bundles = [name.strip() for name in (conf.get("bundles") or ",".join(known)).split(",") if name.strip()]
        for name in bundles:
            if name not in known:
                raise ConfigError(f"--conf bundles: no bundle {name!r}; there are {', '.join(known)}")
        device = conf.get("device") or "auto"
        pick_device(device)
        weights = {}
        for one in filter(None, (conf.get("weights") or "").split(",")):
            name, equals, file = one.partition("=")
            if not equals or name.strip() not in bundles:
                raise ConfigError(f"--conf weights {one!r}: write NAME=FILE, NAME one of {', '.join(bundles)}")
            weights[name.strip()] = Path(file.strip())
        return cls(list(dict.fromkeys(bundles)), Path(conf["workspace"]), device, weights)
