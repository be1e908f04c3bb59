"""The address under which callers reach this server."""

from fastapi import Request

from mediakeep.assets.queries import Told
from mediakeep.settings import is_loopback


def base_url(request: Request) -> str:
    """The setting; without it the request's own, which only a loopback server does without.

    A Host header that is no loopback name is somebody's attempt to have us tell a wrong address.
    """
    configured: str = request.app.state.library.settings.base_url
    if configured:
        return configured
    host = request.url.hostname or ""
    if is_loopback(host) and request.url.port != 0:
        return f"{request.url.scheme}://{request.url.netloc}"
    settings = request.app.state.library.settings
    return f"http://{settings.host}:{settings.port}"


def told(request: Request) -> Told:
    """The addresses that this caller is told."""
    base = base_url(request)
    return Told(base=base, public_base=request.app.state.library.settings.cdn_url or base)
