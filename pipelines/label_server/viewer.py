"""OHIF as it comes with MONAI Label, made to ask the server that it was loaded from."""

import functools
import re
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

router = APIRouter()

# its panel takes port 8000 for granted, or what a cookie of another server on this host says
_SERVER = re.compile(r"CookieUtils\.getCookieString\('MONAILABEL_SERVER_URL', [^;]*?':8000/'\)")
_OWN_SERVER = "(window.location.origin + '/')"


def folder() -> Path:
    """Where MONAI Label keeps OHIF."""
    import monailabel

    return Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"


@router.get("/ohif/{path:path}")
def ohif(path: str) -> Response:
    """A file of the viewer's; its start page for every place in it that is no file."""
    base = folder().resolve()
    file = (base / path).resolve()
    if not file.is_relative_to(base) or not file.is_file():
        file = base / "index.html"
    if file.suffix == ".js":
        return Response(_script(file), media_type="text/javascript")
    media = {".wasm": "application/wasm", ".html": "text/html"}.get(file.suffix)
    return FileResponse(file, media_type=media)


@functools.lru_cache(maxsize=256)
def _script(file: Path) -> bytes:
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    return _SERVER.sub(_OWN_SERVER, text).encode("utf-8", errors="surrogateescape")
