"""Whether a DICOM series is still being written: more of its files have come to its folders since it was found."""

import os

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.header import looks_like_dicom, read_header
from radseg.pipelines.io.image_case import Case


def see_that_none_came(case: Case) -> None:
    """See that the folders of a series hold no file of it that wasn't there when it was found.

    Raises:
        InputError: they do.
    """
    for folder in case.folders:
        try:
            with os.scandir(folder.path) as entries:
                new = [
                    folder.path / entry.name
                    for entry in entries
                    if entry.name not in folder.names
                    and not entry.name.startswith(".")
                    and entry.is_file(follow_symlinks=False)
                ]
            came = sum(
                header is not None and header.series_uid == case.series_uid
                for header in (read_header(path) for path in new if looks_like_dicom(path))
            )
        except OSError:  # what is wrong with it is told by whoever reads its files
            continue
        if came:
            raise InputError(
                f"{case.source}: {came} more of its files came since it was found; "
                "wait until it is whole, then run again"
            )
