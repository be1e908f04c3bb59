"""POSTs to addresses that users name: only to public ones, and never for long."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from mediakeep import outbound
from mediakeep.errors import InvalidInput

SECONDS = 10.0

MAX_ANSWER_BYTES = 64 * 1024
_KEPT_CHARACTERS = 1000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How an attempt went. `error` is a sentence for the owner, None where the receiver has taken it."""

    error: str | None
    status: int | None = None
    body: str | None = None
    duration_seconds: float = 0.0


def check_url(url: str, *, allow_private: bool, field: str = "url") -> None:
    """Raise `InvalidInput` of that field unless requests may go there, as far as can be told without resolving its name."""
    try:
        outbound.check(outbound.parse(url), allow_private=allow_private)
    except outbound.RefusedAddress as error:
        raise InvalidInput(str(error), field=field) from error


async def post(url: str, *, body: bytes, headers: Mapping[str, str], allow_private: bool) -> Answer:
    """Send it once. Whatever goes wrong on the way is told in the answer; a redirect is not followed, and is an error."""
    started = time.monotonic()
    status, text, error = None, None, None
    try:
        async with asyncio.timeout(SECONDS):  # the whole, so that its parts need no limit of their own
            status, text = await _send(url, body, headers, allow_private=allow_private)
    except TimeoutError:
        error = f"The receiver did not answer within {SECONDS:.0f} s."
    except outbound.RefusedAddress as refused:
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


async def _send(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> tuple[int, str]:
    content = bytearray()
    asked = outbound.requested(
        "POST", outbound.parse(url), headers=headers, content=body, allow_private=allow_private
    )
    async with asked as answer:
        async for chunk in answer.aiter_raw():
            content += chunk
            if len(content) >= MAX_ANSWER_BYTES:
                break
    text = bytes(content[: 4 * _KEPT_CHARACTERS]).decode("utf-8", "replace").replace("\0", "\ufffd")
    return answer.status_code, text[:_KEPT_CHARACTERS]
