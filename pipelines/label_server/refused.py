"""A refusal that is one line to a user and, to a client of the server, a status with that line."""

from fastapi import HTTPException

from radseg.pipelines.errors import InputError


class Refused(InputError, HTTPException):  # noqa: N818  (a refusal is an answer)
    """What a client asked for can't be done; FastAPI answers with the status and the line.

    Args:
        status: of HTTP, such as 404.
        line: what was refused, why, and the remedy; names no path of the server.
    """

    def __init__(self, status: int, line: str) -> None:
        HTTPException.__init__(self, status, line)
        self.args = (line,)

    def __str__(self) -> str:
        return str(self.detail)


def not_there(image: str) -> Refused:
    """The refusal of an image that isn't listed; it may have been removed a moment ago."""
    return Refused(404, f"image {image!r} is not in the datastore (any more); list it again, or add it first")
