"""Checks of single values of a request: each returns the value as it goes on, or refuses it in one line."""

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from radseg.pipelines.label_server.guard.known import Known
from radseg.pipelines.label_server.refused import Refused

Check = Callable[[Any, Known], Any]

_NEW_ID = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHECKSUM = re.compile(r"(?:(?:MD5|SHA256|SHA512):)?[0-9a-fA-F]{32,128}", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_UID = r"[0-9.]{1,64}"
_DICOMWEB = re.compile(
    rf"studies(/{_UID})?(/(series|instances)(/{_UID}(/instances(/{_UID})?)?)?)?"
    r"(/(metadata|rendered|thumbnail|frames/[0-9,]{1,255}(/rendered)?|bulkdata/[0-9A-Za-z/]{1,255}|bulk/[0-9A-Za-z/]{1,255}))?"
)
_FILE = re.compile(r"(\.nii|\.nii\.gz|\.nrrd|\.seg\.nrrd|\.mha|\.png|\.jpe?g|\.dcm)", re.IGNORECASE)
_CODE = ("$", "@", "%")
_DEEPEST = 8
_LONGEST = 4096


def shown(value: Any) -> str:
    """A value as a message may show it: short, in one line, without control characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= 60 else f"{text[:57]}..."


def no_path(value: Any, what: str) -> str:
    """A name that is nobody's path: no separator, no step up, no control character, no leading dot."""
    if not isinstance(value, str) or not value or len(value) > 255:
        raise Refused(400, f"{what}: must be a name of 1 to 255 characters")
    if value.startswith(".") or ".." in value or set(value) & {"/", "\\", ":"} or not value.isprintable():
        raise Refused(400, f"{what} {shown(value)}: is no plain name; take one that GET /datastore/ lists")
    return value


def listed_image(value: Any, known: Known) -> str:
    """The id of an image that the datastore lists."""
    name = no_path(value, "image")
    if name not in known.images():
        raise Refused(404, f"image {shown(name)}: not in the datastore; GET /datastore/?output=all lists them")
    return name


def label_id(value: Any, known: Known) -> str:
    """The id of a label, which is its image's or, in an archive, its own."""
    return no_path(value, "label")


def new_image_id(value: Any, known: Known) -> str:
    """An id that an image may be added under."""
    return _like(_NEW_ID, value, "image", "a new image's id is made of letters, digits and . _ -, never two dots")


def tag(value: Any, known: Known) -> str:
    """A tag of labels, such as `final` or `original`."""
    return _like(_TAG, value, "tag", "a tag is made of letters, digits, _ and -, such as final")


def optional_tag(value: Any, known: Known) -> str:
    """A tag, or nothing: the server's own default."""
    return "" if value == "" else tag(value, known)


def dicomweb_path(value: Any, known: Known) -> str:
    """A path of DICOMweb below `studies`, as a viewer reads them."""
    if not isinstance(value, str) or not _DICOMWEB.fullmatch(value):
        raise Refused(404, f"{shown(value)}: the archive is read below studies/ alone")
    return value


def rest_of_path(value: str) -> str:
    """The rest of a path, which goes down only."""
    if (
        "\\" in value
        or not value.isprintable()
        or len(value) > 1024
        or any(one in (".", "..") for one in value.split("/"))
    ):
        raise Refused(404, "nothing answers here")
    return value


def loose(query: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A query whose keys are the archive's or the viewer's business: plain words, plain values."""
    for key, value in query:
        if not _WORD.fullmatch(key) or len(value) > 1024 or not value.isprintable():
            raise Refused(400, f"query: {shown(key)} is not taken")
    return query


def session_id(value: Any, known: Known) -> str:
    """The id that a session was given."""
    return _like(_SESSION, value, "session", "is no session's id")


def checksum(value: Any, known: Known) -> str:
    """A checksum, as Slicer asks for it."""
    return _like(_CHECKSUM, value, "check_sum", "must be ALGORITHM:HEX")


def model(value: Any, known: Known) -> str:
    """A bundle that is served."""
    return _among(value, known.models(), "model")


def strategy(value: Any, known: Known) -> str:
    """A way to choose the next image."""
    return _among(value, known.strategies(), "strategy")


def score(value: Any, known: Known) -> str:
    """A scoring method."""
    return _among(value, known.scores(), "scoring method")


def device(value: Any, known: Known) -> str:
    """A device of the server's."""
    devices = known.devices()
    if not isinstance(value, str) or value not in devices:
        raise Refused(400, f"device {shown(value)}: there are {', '.join(devices)}")
    return value


def output(value: Any, known: Known) -> str:
    """What a mask is wanted as."""
    if value == "dicom_seg" and not known.dicom:
        raise Refused(400, "output dicom_seg: the images aren't in an archive; take image, json or all")
    return str(one_of("image", "json", "all", "dicom_seg")(value, known))


def _like(pattern: re.Pattern[str], value: Any, name: str, rule: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Refused(400, f"{name} {shown(value)}: {rule}")
    return value


def _among(value: Any, names: Collection[str], what: str) -> str:
    if isinstance(value, str) and value in names:
        return value
    near = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names)) or 'none'}"
    raise Refused(404, f"{what} {shown(value)}: not served; {hint}")


def one_of(*choices: Any) -> Check:
    """A check for one of a few values."""

    def check(value: Any, known: Known) -> Any:
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise Refused(400, f"{shown(value)}: must be one of {', '.join(map(str, choices))}")
        return value

    return check


def switch(value: Any, known: Known) -> Any:
    """True or false, in JSON or in a query."""
    if value is True or value is False or value in ("true", "false"):
        return value
    raise Refused(400, f"{shown(value)}: must be true or false")


def number(least: float, most: float, whole: bool = False) -> Check:
    """A check for a number between two, both included; queries hold it as text."""

    def check(value: Any, known: Known) -> Any:
        plain = value
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", value):
            plain = float(value)
        if isinstance(plain, bool) or not isinstance(plain, int | float) or not math.isfinite(plain):
            raise Refused(400, f"{shown(value)}: must be a number")
        if not least <= plain <= most or (whole and plain != int(plain)):
            kind = "whole number" if whole else "number"
            raise Refused(400, f"{shown(value)}: must be a {kind} from {least} to {most}")
        return value

    return check


def or_nothing(check: Check) -> Check:
    """A check that lets null pass."""
    return lambda value, known: None if value is None else check(value, known)


def plain(value: Any, known: Known) -> Any:
    """Any JSON that isn't deep, long or code: no string of it starts as expressions and references of MONAI's do."""
    _plain(value, _DEEPEST)
    return value


def _plain(value: Any, depth: int) -> None:
    if depth == 0:
        raise Refused(400, f"params: deeper than {_DEEPEST} levels")
    if isinstance(value, str):
        if value.lstrip().startswith(_CODE):
            raise Refused(400, f"{shown(value)}: values that start with $, @ or % are code and not taken")
        if len(value) > _LONGEST or "\0" in value:
            raise Refused(400, f"{shown(value)}: longer than {_LONGEST} characters, or none of a text")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _plain(key, depth - 1)
            _plain(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _plain(inner, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Refused(400, "params: NaN and Infinity aren't numbers of JSON")


def text(value: Any, known: Known) -> Any:
    """A short text that isn't code."""
    if not isinstance(value, str) or len(value) > 255 or not value.isprintable():
        raise Refused(400, f"{shown(value)}: must be a text of at most 255 characters")
    return plain(value, known)


def allowed(params: Any, keys: Mapping[str, Check], known: Known, what: str = "params") -> dict[str, Any]:
    """An object of allowed keys, each checked.

    Raises:
        Refused: 400, with the key and its nearest that is allowed.
    """
    if not isinstance(params, Mapping):
        raise Refused(400, f"{what}: must be a JSON object")
    checked = {}
    plain(dict(params), known)
    for key, value in params.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"taken are {', '.join(keys) or 'none'}"
            raise Refused(400, f"{what}: key {shown(key)} is not taken; {hint}")
        try:
            checked[key] = keys[key](value, known)
        except Refused as error:
            line = str(error)
            raise Refused(error.status_code, line if line.startswith(key) else f"{key}: {line}") from None
    return checked


def object_of(keys: Mapping[str, Check], what: str) -> Check:
    """A check for an object of allowed keys."""
    return lambda value, known: allowed(value, keys, known, what)


def file_name(value: str | None) -> None:
    """Refuses an upload whose name doesn't end as an image's does; its folders are nobody's business and not used."""
    name = (value or "").replace("\\", "/").rpartition("/")[2]
    suffix = re.search(r"(\.seg)?(\.nii\.gz|\.[A-Za-z0-9]+)$", name)
    if not name.isprintable() or len(name) > 255 or suffix is None or not _FILE.fullmatch(suffix[0]):
        raise Refused(400, f"file {shown(name)}: must be .nii.gz, .nii, .nrrd, .mha, .png, .jpg or .dcm")
