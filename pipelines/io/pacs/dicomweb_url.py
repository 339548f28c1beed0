"""What a DICOMweb URL names: a study, a series, or a query over a server's studies and series."""

import difflib
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlsplit

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.pacs.dicomweb_keys import SERIES_KEYS, STUDY_KEYS, value_trouble

PREFIX = "dicomweb+"
_FORM = (
    "give dicomweb+https://HOST/PATH/studies/UID, .../studies/UID/series/UID, or a query such as "
    "dicomweb+https://HOST/PATH?StudyDate=20260101-20260131&Modality=CT"
)
# also refuses "." and "..", which would leave their place in a path
_UID = re.compile(r"[0-9](?:[0-9.]{0,62}[0-9])?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_PREFIX_PATH = re.compile(r"(?:/[A-Za-z0-9_~%-][A-Za-z0-9._~%-]*)*")
_RESOURCE = re.compile(r"(?P<path>.*?)/studies(?:/(?P<study>[^/]+)(?:/series/(?P<series>[^/]+))?)?")


@dataclass(frozen=True)
class DicomwebUrl:
    """A place on a DICOMweb server.

    Attributes:
        base: http or https URL of the service, without a trailing slash, such as `http://127.0.0.1:8042/dicom-web`.
        study: StudyInstanceUID, None for a query or the whole service.
        series: SeriesInstanceUID, None for all of the study.
        study_keys, series_keys: what is asked for at each level, keyword and value; they may name a patient, so
            nothing prints them.
    """

    base: str
    study: str | None = None
    series: str | None = None
    study_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    series_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port, the latter left out where it is the scheme's own."""
        return origin_of(self.base)

    @property
    def shown(self) -> str:
        """What may be told: the URL without its query."""
        below = f"/studies/{self.study}" if self.study else ""
        return f"{PREFIX}{self.base}{below}" + (f"/series/{self.series}" if self.series else "")

    @property
    def said(self) -> str:
        """The URL in a message; of a query only which keys it has, since their values may be a patient's."""
        keys = [keyword for keyword, _ in (*self.study_keys, *self.series_keys)]
        return f"{self.shown} (query by {', '.join(keys)})" if keys else self.shown


def is_dicomweb(value: object) -> bool:
    """Whether an input or output is a DICOMweb URL."""
    return isinstance(value, str) and value[: len(PREFIX)].lower() == PREFIX


def is_uid(text: object) -> bool:
    """Whether a text can be a UID (PS3.5 section 9.1), leading zeros forgiven, and so a part of a path."""
    return isinstance(text, str) and _UID.fullmatch(text) is not None


def parse(url: str) -> DicomwebUrl:
    """A DICOMweb URL in its parts.

    Raises:
        ConfigError: not of a known form, a password in it, no UID, or an unknown key with the nearest one. Neither
            passwords nor the values of keys are repeated.
    """
    parts = _split(url)
    base_path, study, series = _resource(parts)
    base = f"{parts.scheme[len(PREFIX) :]}://{parts.netloc.lower()}{base_path}"
    shown = PREFIX + base
    for what, uid in (("studies", study), ("series", series)):
        if uid is not None and not is_uid(uid):
            raise ConfigError(f"{shown}: what follows /{what}/ is no UID (digits and dots, at most 64)")
    asked = _asked(parts.query, shown)
    if study is not None and asked:
        raise ConfigError(f"{shown}: names a study and holds a query; give one of both")
    return DicomwebUrl(
        base,
        study,
        series,
        tuple((keyword, value) for keyword, value in asked if keyword in STUDY_KEYS),
        tuple((keyword, value) for keyword, value in asked if keyword in SERIES_KEYS),
    )


def origin_of(url: str) -> str:
    """Scheme, host and port of an http or https URL; "" when it is none."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _split(url: str) -> SplitResult:
    """The parts of a URL whose scheme and host are in order."""
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise ConfigError(f"a DICOMweb URL holds a space, backslash or control character; {_FORM}")
    try:
        parts = urlsplit(url)
        usable = parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.scheme not in (f"{PREFIX}http", f"{PREFIX}https") or parts.fragment:
        raise ConfigError(f"not a DICOMweb URL that can be used; {_FORM}")
    if "@" in parts.netloc:
        raise ConfigError(
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}: a user or password in a URL is seen by others; write "
            'them into a file of mode 600 under "dicomweb" and pass --storage#credentials FILE'
        )
    host = re.sub(r":\d*$", "", parts.netloc)
    if not _HOST.fullmatch(host):
        raise ConfigError(f"not a DICOMweb URL that can be used: no host name in it; {_FORM}")
    return parts


def _resource(parts: SplitResult) -> tuple[str, str | None, str | None]:
    """Path of the service, and the UIDs of study and series."""
    path = re.sub("/+", "/", parts.path).rstrip("/")
    match = _RESOURCE.fullmatch(path)
    base, study, series = (match["path"], match["study"], match["series"]) if match else (path, None, None)
    if not _PREFIX_PATH.fullmatch(base) or re.search("/(studies|series|instances)(/|$)", base):
        raise ConfigError(f"{parts.scheme}://{parts.netloc}: its path names no study or series; {_FORM}")
    return base, study, series


def _asked(query: str, shown: str) -> list[tuple[str, str]]:
    try:
        asked = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise ConfigError(f"{shown}: the query isn't of the form KEY=VALUE&KEY=VALUE") from None
    known = {**STUDY_KEYS, **SERIES_KEYS}
    for number, (keyword, value) in enumerate(asked):
        if keyword not in known:
            folded = {one.lower(): one for one in known}
            nearest = difflib.get_close_matches(keyword.lower(), folded, 1, cutoff=0.0)[0]
            raise ConfigError(f"{shown}: no key {keyword[:40]!r} of studies or series; did you mean {folded[nearest]}?")
        if keyword in dict(asked[:number]):
            raise ConfigError(f"{shown}: the key {keyword} is there twice; give it once")
        trouble = value_trouble(known[keyword], value)
        if trouble:
            raise ConfigError(f"{shown}: the value of {keyword} {trouble}")
    return asked
