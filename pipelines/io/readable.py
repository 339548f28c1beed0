"""Whether a file looks readable, told by its header in milliseconds, before the hours in which it would be read."""

from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.header import looks_like_dicom, read_header
from radseg.pipelines.io.image_case import KIND_BY_SUFFIX, InputKind
from radseg.pipelines.io.itk_image import check_itk
from radseg.pipelines.io.nifti import check_nifti
from radseg.pipelines.io.picture import check_picture

_CHECKS = {
    InputKind.NIFTI: check_nifti,
    InputKind.ITK: check_itk,
    InputKind.PNG: check_picture,
    InputKind.JPEG: check_picture,
}


def header_trouble(path: Path | str) -> str | None:
    """Why an image or mask can't be read as far as its header tells, with its name and the remedy; None when it can.

    Folders and zips, of which only reading tells what they hold, have none.

    Args:
        path: a local file or folder.
    """
    file = Path(path)
    kind = next((one for suffix, one in KIND_BY_SUFFIX.items() if file.name.lower().endswith(suffix)), None)
    try:
        if kind is not None:
            _CHECKS[kind](file)
        elif file.is_file() and file.suffix.lower() != ".zip":
            header = read_header(file) if looks_like_dicom(file) else None
            if header is None or header.damage:
                reason = "not readable as DICOM" if header is None else header.damage
                return f"{file}: {reason}; fetch it again"
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"{file}: can't be read ({error.strerror}); check its permissions"
    return None
