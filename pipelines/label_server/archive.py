"""What the viewer reads of the archive: DICOMweb passed on, with the archive's login and none of the visitor's."""

import os
from collections.abc import AsyncIterator

import httpx
from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from radseg.pipelines.label_server.refused import Refused

_CONNECT_S = 10.0
_READ_S = 60.0
_HANDED_BACK = ("content-type", "content-length", "content-encoding")


def archive(studies: str) -> APIRouter:
    """The routes `/proxy/dicom/…` of a server whose images are in an archive at the URL `studies`."""
    router = APIRouter()
    user = os.environ.get("MONAI_LABEL_DICOMWEB_USERNAME")
    password = os.environ.get("MONAI_LABEL_DICOMWEB_PASSWORD")
    client = httpx.AsyncClient(
        auth=(user, password) if user and password else None,
        timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
        follow_redirects=False,
        trust_env=False,
    )

    @router.get("/proxy/dicom/{kind}/{path:path}")
    async def read(request: Request, kind: str, path: str) -> StreamingResponse:
        url = httpx.URL(f"{studies.rstrip('/')}/{path}", query=request.url.query.encode())
        asked = client.build_request("GET", url, headers={"accept": request.headers.get("accept", "*/*")})
        try:
            answer = await client.send(asked, stream=True)
        except httpx.HTTPError as error:
            raise Refused(502, f"the archive doesn't answer ({type(error).__name__}); see that it runs") from None

        async def content() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()

        headers = {name: answer.headers[name] for name in _HANDED_BACK if name in answer.headers}
        return StreamingResponse(content(), status_code=answer.status_code, headers=headers)

    return router
