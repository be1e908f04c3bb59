"""Whether a request comes from the machine that the server runs on."""

from urllib.parse import urlsplit

from fastapi import Request

from mediakeep.http.auth import address_of
from mediakeep.settings import is_loopback

#: What proxies add. One that is not trusted has them as well.
_PROXIES_ADD = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def is_from_this_machine(request: Request) -> bool:
    """Whether a program on this machine asks for itself, as far as the request tells.

    A proxy in front connects from a loopback address for the whole world; a page of another origin, or one whose name
    was rebound to this machine, has the browser of somebody here ask for it.
    """
    return (
        is_loopback(address_of(request))
        and is_loopback(request.url.hostname or "")
        and not any(name in request.headers for name in _PROXIES_ADD)
        and request.scope["http_version"] != "1.0"  # what proxies speak by default, and browsers never
        and _is_loopback_origin(request.headers.get("origin"))
    )


def _is_loopback_origin(origin: str | None) -> bool:
    if origin is None:
        return True
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False
