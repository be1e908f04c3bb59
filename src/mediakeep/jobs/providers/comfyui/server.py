"""Requests to a ComfyUI server. Whatever it answers is bounded in size and time, and checked before it is used."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import httpx

from mediakeep.jobs.providers.base import ProviderAway
from mediakeep.settings import Settings

#: Of an answer in JSON. The queue holds every waiting workflow whole.
MAX_ANSWER_BYTES = 8 << 20

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0  # between two pieces of an answer
ANSWER_SECONDS = 60.0
UPLOAD_SECONDS = 600.0
DOWNLOAD_SECONDS = 3600.0

_AWAY: Final = "ComfyUI does not answer."
_NONSENSE: Final = "ComfyUI answered something that is none of its answers."


class NotReached(ProviderAway):
    """Nothing was sent: there is no connection."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:  # whatever it is, whoever asks checks it
        """Raises `ProviderAway` where it is no JSON."""
        try:
            return json.loads(self.body, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ProviderAway(_NONSENSE) from error


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server at an address of the settings, which may be a private one. `token` goes nowhere else: no redirect is
    followed, and no proxy of the environment's asked.
    """

    url: str
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def get(self, path: str) -> Any:  # JSON, unchecked
        """What it answers with 200. Raises `ProviderAway` for anything else."""
        answer = await self.request("GET", path)
        if answer.status != 200:
            raise unexpected(answer.status)
        return answer.json()

    async def post(self, path: str, value: Mapping[str, Any]) -> Answer:
        # In ASCII: a text may hold half a surrogate pair, which UTF-8 cannot say.
        content = json.dumps(value).encode("ascii")
        headers = {"Content-Type": "application/json"}
        return await self.request("POST", path, content=content, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        seconds: float | None = None,
        **given: Any,  # of httpx's `stream`
    ) -> Answer:
        """Its whole answer, whatever the status. Raises `NotReached`, `ProviderAway`."""
        async with self.streamed(method, path, seconds=seconds or ANSWER_SECONDS, **given) as answer:
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise ProviderAway("ComfyUI's answer is too long.")
            return Answer(status=answer.status_code, body=bytes(body))

    @asynccontextmanager
    async def streamed(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        **given: Any,  # of httpx's `stream`
    ) -> AsyncIterator[httpx.Response]:
        """The answer before its body, which is never unpacked: little may hold much. Raises `NotReached`, `ProviderAway`."""
        sent = {**self.headers, "Accept-Encoding": "identity", **(headers or {})}
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with (
                asyncio.timeout(seconds),
                httpx.AsyncClient(verify=_tls(self.url), trust_env=False, timeout=timeout) as client,
                client.stream(method, f"{self.url}{path}", headers=sent, **given) as answer,
            ):
                yield answer
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotReached("ComfyUI cannot be reached.") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise ProviderAway(_AWAY) from error


def server_of(settings: Settings) -> Server:
    scheme, colon, rest = settings.comfyui_url.partition(":")
    return Server(url=f"{scheme.lower()}{colon}{rest}", token=settings.comfyui_token.get_secret_value())


def unexpected(status: int) -> ProviderAway:
    return ProviderAway(f"ComfyUI answered {status}.")


def nonsense() -> ProviderAway:
    return ProviderAway(_NONSENSE)


def plain(text: object, characters: int) -> str:
    """What a server says, in one line that can be shown and stored."""
    words = " ".join(text.split()) if isinstance(text, str) else ""
    return "".join(one for one in words[: 2 * characters] if one.isprintable())[:characters]


def _no_number(name: str) -> float:
    raise ValueError(name)


def _tls(url: str) -> ssl.SSLContext | bool:
    return _certificates() if url.startswith("https:") else False


@cache
def _certificates() -> ssl.SSLContext:
    """Reading the certificates of the world takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)
