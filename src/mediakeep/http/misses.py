"""How many pictures one address may have made in a minute: anybody may ask for sizes that nobody has asked for."""

import ipaddress
import math
import time
from collections import OrderedDict, deque

from mediakeep.errors import RateLimited

_WINDOW_SECONDS = 60.0
_MOST_ADDRESSES = 20_000


class MissLimit:
    """A moving window of 60 s for each address, in this process's memory; a `limit` of 0 is none.

    An address of IPv6 stands for its network of 64 bits, which is what one customer is given (RFC 6177).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, address: str) -> None:
        """Count one. Raises `RateLimited`, and does not count, where so many lie within the last 60 s."""
        if not self._limit:
            return
        times = self._times.setdefault(_network(address), deque())
        self._times.move_to_end(_network(address))
        now = time.monotonic()
        while times and times[0] <= now - _WINDOW_SECONDS:
            times.popleft()
        if len(times) >= self._limit:
            raise RateLimited(retry_after_seconds=max(1, math.ceil(times[0] + _WINDOW_SECONDS - now)))
        times.append(now)
        if len(self._times) > _MOST_ADDRESSES:
            self._times.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
