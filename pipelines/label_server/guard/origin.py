"""Where a request comes from: names that the server answers to, and whether a page of its own asks."""

from collections.abc import Collection

from starlette.datastructures import Headers

from radseg.pipelines.label_server.refused import Refused


def check_host(headers: Headers, names: Collection[str]) -> None:
    """Refuses a name that isn't the server's: a foreign page may have let its own name point here (DNS rebinding).

    Args:
        headers: of the request.
        names: in lower case; one that starts with `*.` stands for all names with one more part, as in certificates.

    Raises:
        Refused: 400.
    """
    hosts = headers.getlist("host")
    name = _without_port(hosts[0]) if len(hosts) == 1 else ""
    if not name or (name not in names and f"*.{name.partition('.')[2]}" not in names):
        raise Refused(400, "this server isn't called that; use 127.0.0.1, or a name of its certificate")


def check_own_page(headers: Headers, scheme: str, method: str) -> None:
    """Refuses what another site's page asks with the visitor's cookie.

    Raises:
        Refused: 403.
    """
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    own = f"{scheme}://{headers.get('host', '')}"
    safe = method in ("GET", "HEAD")
    if site not in (None, "same-origin", "none") or origin not in (None, own) or not (safe or site or origin):
        raise Refused(403, "only this server's own pages may ask with a login; others send a token")


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return (name if separator and port.isdigit() else host).lower()
