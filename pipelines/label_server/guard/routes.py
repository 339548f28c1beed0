"""The table of what may be asked: method, path, least role, query keys and body, each key with its check."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from radseg.pipelines.label_server.guard import checks
from radseg.pipelines.label_server.guard.checks import Check
from radseg.pipelines.label_server.guard.params import ADDED, ALL, BATCH, INFER, INFO, SAMPLE, SAVED, SCORE, TRAIN
from radseg.pipelines.label_server.guard.tokens import Role


class Body(Enum):
    """What a request may carry."""

    NONE = "nothing"
    JSON = "a JSON object"
    FORM = "a form"


@dataclass(frozen=True)
class Route:
    """One thing that may be asked.

    Attributes:
        method: of HTTP.
        pattern: path, a `{name}` in it being one segment and `{name...}` the rest; also what the log says.
        role: who may, at least.
        segments: checks of the pattern's names.
        query: keys that the query may hold, with their checks.
        needed: of these, those that it must hold.
        body: what kind of body it takes.
        params: keys of the JSON object, or of the form's field `params` (`form_field` names it), with their checks.
        fields: further text fields of the form.
        form_field: name of the form's field that is a JSON object.
        file: name of the form's file; None if it takes none.
        file_needed: whether the form must hold it.
        queue: requests that name the same queue wait for each other.
        by_model: keys of the object that the JSON object may hold for each model.
        instead: a query key, and which others it takes the place of.
        loose: whether any further query key is taken that is a plain word; their values are plain, too.
    """

    method: str
    pattern: str
    role: Role
    segments: Mapping[str, Check] = field(default_factory=dict)
    query: Mapping[str, Check] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    body: Body = Body.NONE
    params: Mapping[str, Check] = field(default_factory=dict)
    fields: Mapping[str, Check] = field(default_factory=dict)
    form_field: str = "params"
    file: str | None = None
    file_needed: bool = False
    queue: str | None = None
    by_model: Mapping[str, Check] = field(default_factory=dict)
    instead: tuple[str, tuple[str, ...]] = ("", ())
    loose: bool = False

    def match(self, path: str) -> dict[str, str] | None:
        """The pattern's names and what stands for them in a path; None if the path is another."""
        found = _compiled(self.pattern).fullmatch(path)
        return found.groupdict() if found else None


_COMPILED: dict[str, re.Pattern[str]] = {}


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern not in _COMPILED:
        parts = re.split(r"(\{\w+(?:\.\.\.)?\})", pattern)
        source = "".join(
            re.escape(part)
            if not part.startswith("{")
            else f"(?P<{part[1:-4]}>.*)"
            if part.endswith("...}")
            else f"(?P<{part[1:-1]}>[^/]+)"
            for part in parts
        )
        _COMPILED[pattern] = re.compile(source, re.DOTALL)
    return _COMPILED[pattern]


_IMAGE = {"image": checks.listed_image}
_LABEL = {"label": checks.label_id, "tag": checks.tag}
_MODEL = {"model": checks.model}
_STATUS = {"all": checks.switch, "check_if_running": checks.switch}
_UPLOAD: dict[str, Any] = {"body": Body.FORM, "file_needed": True, "queue": "write"}


def routes() -> list[Route]:
    """All that may be asked."""
    user, reviewer, admin = Role.USER, Role.REVIEWER, Role.ADMIN
    table = [
        Route("GET", "/info/", user),
        # the datastore; `output=train` would list the server's paths
        Route("GET", "/datastore/", user, query={"output": checks.one_of("stats", "all")}),
        Route("GET", "/datastore/image", user, query=_IMAGE, needed=("image",)),
        Route("HEAD", "/datastore/image", user, query={**_IMAGE, "check_sum": checks.checksum}, needed=("image",)),
        Route("GET", "/datastore/image/info", user, query=_IMAGE, needed=("image",)),
        Route("PUT", "/datastore/image/info", reviewer, query=_IMAGE, needed=("image",), body=Body.FORM, params=INFO,
              form_field="info", queue="write"),
        Route("GET", "/datastore/label", user, query=_LABEL, needed=("label", "tag")),
        Route("HEAD", "/datastore/label", user, query={**_IMAGE, "tag": checks.tag}, needed=("image", "tag")),
        Route("GET", "/datastore/label/info", user, query=_LABEL, needed=("label", "tag")),
        Route("PUT", "/datastore/label/info", reviewer, query=_LABEL, needed=("label", "tag"), body=Body.FORM,
              params=INFO, form_field="info", queue="write"),
        Route("PUT", "/datastore/label", user, query={**_IMAGE, "tag": checks.optional_tag}, needed=("image",),
              params=SAVED, file="label", **_UPLOAD),
        Route("DELETE", "/datastore/label", reviewer, query={"id": checks.label_id, "tag": checks.tag},
              needed=("id", "tag"), queue="write"),
        Route("GET", "/datastore/dataset", admin, query={"limit_cases": checks.number(1, 10**6, whole=True)}),
        # work
        Route("POST", "/infer/{model}", user, segments=_MODEL, body=Body.FORM, params=INFER, file="file", queue="infer",
              query={**_IMAGE, "session_id": checks.session_id, "output": checks.output},
              instead=("session_id", ("image",))),
        Route("POST", "/activelearning/{strategy}", user, segments={"strategy": checks.strategy}, body=Body.JSON,
              params=SAMPLE, queue="sample"),
        Route("GET", "/batch/infer", user, query=_STATUS),
        Route("POST", "/batch/infer/{model}", admin, segments=_MODEL, body=Body.JSON, params=BATCH,
              query={"images": checks.one_of("all", "labeled", "unlabeled")}, queue="start"),
        Route("DELETE", "/batch/infer", admin, queue="start"),
        Route("GET", "/train/", user, query=_STATUS),
        Route("POST", "/train/{model}", admin, segments=_MODEL, body=Body.JSON, params=TRAIN, queue="start"),
        Route("POST", "/train/", admin, body=Body.JSON, params=ALL, by_model=TRAIN, queue="start"),
        Route("DELETE", "/train/", admin, queue="start"),
        Route("GET", "/scoring/", user, query=_STATUS),
        Route("POST", "/scoring/{method}", reviewer, segments={"method": checks.score}, body=Body.JSON, params=SCORE,
              queue="start"),
        Route("DELETE", "/scoring/", admin, queue="start"),
        # an image that isn't in the datastore, for as long as a session lasts
        Route("PUT", "/session/", user, query={"expiry": checks.number(0, 86400, whole=True)},
              fields={"client_id": checks.text}, file="files", **_UPLOAD),
        Route("GET", "/session/{session}", user, segments={"session": checks.session_id},
              query={"update_ts": checks.switch, "image": checks.switch}),
        Route("DELETE", "/session/{session}", user, segments={"session": checks.session_id}, queue="write"),
        # versions of the weights
        Route("GET", "/radseg/versions/{model}", user, segments=_MODEL),
        Route("POST", "/radseg/versions/{model}/rollback", admin, segments=_MODEL,
              query={"to": checks.number(1, 10**6, whole=True)}, needed=("to",), queue="start"),
        # the viewer, and the archive that it reads
        Route("GET", "/ohif/{path...}", user, loose=True),
        Route("GET", "/proxy/dicom/{kind}/{path...}", user, segments={"kind": checks.one_of("wado", "qido"),
              "path": checks.dicomweb_path}, loose=True),
    ]  # fmt: skip
    for path in ("/datastore/image", "/datastore/"):  # Slicer's plug-in says the latter
        table += [
            Route(
                "PUT",
                path,
                reviewer,
                query={"image": checks.new_image_id},
                needed=("image",),
                params=ADDED,
                file="file",
                **_UPLOAD,
            ),
            Route("DELETE", path, admin, query={"id": checks.listed_image}, needed=("id",), queue="write"),
        ]  # fmt: skip
    return table
