"""Requests to addresses that others name: only to public ones.

Names are resolved here, every address that comes out is checked, and the connection is made to the address that was
checked. So a name that means something else a moment later leads nowhere else.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

CONNECT_SECONDS = 4.0  # for each of a name's addresses: one of two networks may be down

NOT_PUBLIC = "The URL's host is not at a public address."

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


class RefusedAddress(Exception):
    """No request goes to this address; the message is a sentence that says why."""


class UnknownHost(RefusedAddress):
    """The name means nothing now, which may pass."""


def parse(url: str) -> httpx.URL:
    """Raises `RefusedAddress` for what is no address of the web."""
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode("ascii").encode(
            "idna"
        )  # as the resolver does: labels of at most 63 characters
    except (httpx.InvalidURL, UnicodeError) as error:
        raise RefusedAddress("The URL is not an address.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.raw_host:
        raise RefusedAddress("The URL must begin with http:// or https:// and name a host.")
    if parsed.userinfo:
        raise RefusedAddress("The URL must not contain a user name or a password.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise RefusedAddress("The URL is not an address.")
    return parsed


def check(url: httpx.URL, *, allow_private: bool) -> None:
    """Raise `RefusedAddress` unless requests may go there, as far as can be told without resolving its name."""
    if not allow_private and (address := _as_address(url)) and not is_public(address):
        raise RefusedAddress(NOT_PUBLIC)


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


@asynccontextmanager
async def requested(
    method: str,
    url: httpx.URL,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    allow_private: bool,
    read_seconds: float | None = None,
) -> AsyncIterator[httpx.Response]:
    """The answer to a request, its body not yet read, and not unpacked: a small answer may hold a large one.

    Redirects are not followed, and no proxy is asked: it would resolve the name once more. Raises `RefusedAddress`, and
    what httpx raises.
    """
    found = await _addresses(url, allow_private=allow_private)
    timeout = httpx.Timeout(read_seconds, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(verify=tls(), trust_env=False, timeout=timeout) as client:
        for address in found[:-1]:
            request = _request(client, method, url, address, headers, content)
            try:
                answer = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            break
        else:
            request = _request(client, method, url, found[-1], headers, content)
            answer = await client.send(request, stream=True)
        try:
            yield answer
        finally:
            await answer.aclose()


def _request(
    client: httpx.AsyncClient,
    method: str,
    url: httpx.URL,
    address: str,
    headers: Mapping[str, str],
    content: bytes | None,
) -> httpx.Request:
    """The certificate must be that of the name, which the receiver also sees as `Host`."""
    sent = {**headers, "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
    name = {"sni_hostname": url.raw_host.decode("ascii")}
    return client.build_request(
        method, url.copy_with(host=address), content=content, headers=sent, extensions=name
    )


async def _addresses(url: httpx.URL, *, allow_private: bool) -> list[str]:
    """What the name of the host means now. Raises `UnknownHost`, and `RefusedAddress` if any of it is not public."""
    try:
        found = await _resolve(url.raw_host.decode("ascii"))
    except (OSError, UnicodeError) as error:
        raise UnknownHost("The URL's host cannot be found.") from error
    if not allow_private and not all(is_public(ip_address(one)) for one in found):
        raise RefusedAddress(NOT_PUBLIC)
    return found


async def _resolve(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in answers))


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
def tls() -> ssl.SSLContext:
    """Reading the certificates of the world takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)
