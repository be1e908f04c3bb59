"""Requests to addresses that users name: only to public ones, and never for long.

Names are resolved here, every address that comes out is checked, and the connection is made to the address that was
checked. So a name that means something else a moment later leads nowhere else.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from mediakeep.errors import InvalidInput

SECONDS = 10.0
_CONNECT_SECONDS = 4.0  # for each of a name's addresses: one of two networks may be down

MAX_ANSWER_BYTES = 64 * 1024
_KEPT_CHARACTERS = 1000

_NOT_PUBLIC = "The URL's host is not at a public address."

#: What `is_global` of some versions of Python leaves out: shared (CGNAT), protocol assignments, benchmarks, the NAT64
#: of local networks, Teredo and what else is assigned to protocols, the site-local addresses of old.
_NOT_PUBLIC_NETWORKS = tuple(
    ip_network(one)
    for one in (
        *("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("64:ff9b:1::/48", "100::/64", "2001::/23", "fec0::/10"),
    )
)
_NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How an attempt went. `error` is a sentence for the owner, None where the receiver has taken it."""

    error: str | None
    status: int | None = None
    body: str | None = None
    duration_seconds: float = 0.0


class _Refused(Exception):
    """No request goes to this address; the message says why."""


def check_url(url: str, *, allow_private: bool) -> None:
    """Raise `InvalidInput` unless requests may go there, as far as can be told without resolving its name."""
    try:
        parsed = _parse(url)
        if not allow_private and (address := _as_address(parsed)) and not is_public(address):
            raise _Refused(_NOT_PUBLIC)
    except _Refused as error:
        raise InvalidInput(str(error), field="url") from error


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of the internet's: not of this machine, a local network, a group or a provider's own.

    IPv6 addresses that carry an IPv4 address (mapped, 6to4, NAT64) are what that is.
    """
    if isinstance(address, IPv6Address) and (inner := _carried_by(address)):
        return is_public(inner)
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and not any(address in network for network in _NOT_PUBLIC_NETWORKS)
    )


async def post(url: str, *, body: bytes, headers: Mapping[str, str], allow_private: bool) -> Answer:
    """Send it once. Whatever goes wrong on the way is told in the answer; a redirect is not followed, and is an error."""
    started = time.monotonic()
    status, text, error = None, None, None
    try:
        async with asyncio.timeout(SECONDS):
            status, text = await _send(_parse(url), body, headers, allow_private=allow_private)
    except TimeoutError:
        error = f"The receiver did not answer within {SECONDS:.0f} s."
    except _Refused as refused:
        error = str(refused)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as failed:
        error = f"The request failed: {str(failed) or type(failed).__name__}"[:500]
    else:
        error = _complaint(status)
    seconds = round(time.monotonic() - started, 3)
    return Answer(error=error, status=status, body=text, duration_seconds=seconds)


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The receiver answered {status}; redirects are not followed."
    return f"The receiver answered {status}."


async def _send(
    url: httpx.URL, body: bytes, headers: Mapping[str, str], *, allow_private: bool
) -> tuple[int, str]:
    addresses = await _addresses(url, allow_private=allow_private)
    timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)  # the whole has its limit already
    # No proxy: it would resolve the name once more.
    async with httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=timeout) as client:
        for address in addresses[:-1]:
            try:
                return await _send_to(address, client, url, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await _send_to(addresses[-1], client, url, body, headers)


async def _send_to(
    address: str, client: httpx.AsyncClient, url: httpx.URL, body: bytes, headers: Mapping[str, str]
) -> tuple[int, str]:
    """The certificate must be that of the name, which the receiver also sees as `Host`."""
    content = bytearray()
    sent = {**headers, "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
    name = {"sni_hostname": url.raw_host.decode("ascii")}
    target = url.copy_with(host=address)
    async with client.stream("POST", target, content=body, headers=sent, extensions=name) as answer:
        async for chunk in answer.aiter_raw():  # not unpacked: a small answer may hold a large one
            content += chunk
            if len(content) >= MAX_ANSWER_BYTES:
                break
    text = bytes(content[: 4 * _KEPT_CHARACTERS]).decode("utf-8", "replace").replace("\0", "\ufffd")
    return answer.status_code, text[:_KEPT_CHARACTERS]


async def _addresses(url: httpx.URL, *, allow_private: bool) -> list[str]:
    """What the name of the host means now. Raises `_Refused` if any of it is not public."""
    try:
        found = await _resolve(url.raw_host.decode("ascii"))
    except (OSError, UnicodeError) as error:
        raise _Refused("The URL's host cannot be found.") from error
    if not allow_private and not all(is_public(ip_address(one)) for one in found):
        raise _Refused(_NOT_PUBLIC)
    return found


async def _resolve(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in answers))


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode("ascii").encode(
            "idna"
        )  # as the resolver does: labels of at most 63 characters
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _Refused("The URL is not an address.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.raw_host:
        raise _Refused("The URL must begin with http:// or https:// and name a host.")
    if parsed.userinfo:
        raise _Refused("The URL must not contain a user name or a password.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise _Refused("The URL is not an address.")
    return parsed


def _as_address(url: httpx.URL) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(url.raw_host.decode("ascii"))
    except ValueError:
        return None


def _carried_by(address: IPv6Address) -> IPv4Address | None:
    is_compatible = 1 < int(address) < 2**32  # such as ::7f00:1, an old form; ::1 is no such
    if is_compatible or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates of the world takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)
