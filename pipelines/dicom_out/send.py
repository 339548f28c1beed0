"""DICOM files on their way to an archive: by C-STORE or by DICOMweb, as the address says."""

from collections.abc import Sequence
from pathlib import Path

from radseg.pipelines.errors import ConfigError

_SCHEMES = ("dicom://", "dicomweb+http://", "dicomweb+https://")


def is_archive(address: str | Path) -> bool:
    """Whether it is the address of an archive rather than a folder's path or URL."""
    return str(address).startswith(_SCHEMES)


def check_address(url: str) -> None:
    """Refuses what isn't the address of an archive.

    Raises:
        ConfigError: neither `dicom://AET@HOST:PORT` nor `dicomweb+https://HOST/PATH`, or one that can't be parsed.
    """
    if not is_archive(url):
        raise ConfigError(f"--send-to {url!r}: give dicom://AET@HOST:PORT or dicomweb+https://HOST/PATH")
    if url.startswith("dicom://"):
        from radseg.pipelines.io.pacs.c_store import parse_peer

        parse_peer(url)
    else:
        from radseg.pipelines.io.pacs.dicomweb import store_address

        store_address(url)


def send_files(files: Sequence[Path], url: str) -> None:
    """Sends DICOM files to an archive; files that it holds already count as sent.

    Raises:
        InputError: the archive can't be reached or doesn't take a file.
        ConfigError: the address or its credentials can't be used.
    """
    check_address(url)
    if url.startswith("dicom://"):
        from radseg.pipelines.io.pacs.c_store import send

        send(files, url)
    else:
        from radseg.pipelines.io.pacs.dicomweb import store

        store(url, files)
