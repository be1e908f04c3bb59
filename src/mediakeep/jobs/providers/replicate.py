"""Replicate (https://replicate.com/docs/reference/http): official models, community models, versions.

The token goes to the API's own address and nowhere else: outputs lie on other hosts, and need none.
"""

import asyncio
import base64
import re
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Final, Literal, TypeGuard
from urllib.parse import quote, urlsplit

import httpx
from pydantic_core import from_json
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from mediakeep import outbound
from mediakeep.errors import BadRequest
from mediakeep.files.receive import Receiver
from mediakeep.jobs.providers.base import (
    Look,
    Model,
    NotConfigured,
    NotSubmitted,
    Order,
    Provider,
    ProviderAway,
    RefusedByProvider,
    Report,
    SourceFile,
    UnknownModel,
    digest,
)
from mediakeep.jobs.schemas import bounded
from mediakeep.jobs.values import read_data_url, replaced
from mediakeep.settings import Settings, is_loopback

#: A file of up to so many bytes goes into the request itself (https://replicate.com/docs/topics/predictions/input-files).
_DATA_URL_BYTES: Final = 256_000
_FILE_BYTES: Final = 100 * 10**6
#: The logs of some models are long.
_MOST_ANSWER_BYTES: Final = 16 << 20
#: Lists and objects in one, where two bytes become a hundred: a model may answer with any number of empty ones.
_MOST_CONTAINERS: Final = 1_000_000

_SILENCE_SECONDS = 30.0
_API_SECONDS = 60.0
_FILE_SECONDS = 900.0
_OUTPUT_SECONDS = 1800.0
_MOST_REDIRECTS: Final = 5
_MOST_PAGES: Final = 5

#: How long a model's schema and the webhooks' secret are believed, seconds.
_KEPT_SECONDS: Final = 600.0
_MOST_KEPT: Final = 200

_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

#: What `tqdm` writes of itself: "45%|####5     | 9/20".
_PERCENT: Final = re.compile(r"(\d{1,3})%\|")
_LOGS_LOOKED_AT: Final = 4000

_MOST_METRICS: Final = 20
_LARGEST_METRIC: Final = 1e15
_MOST_OUTPUTS: Final = 200
#: How many values of an output are looked at.
_MOST_NODES: Final = 10_000

_VERSION = re.compile(r"[0-9a-f]{64}")

#: Whatever it may be, it goes into paths.
_REFERENCE = re.compile(r"(?!\.{1,2}$)[!-~]{1,200}")

_STATUSES: Final[Mapping[str, Literal["waiting", "running", "succeeded", "failed", "cancelled"]]] = {
    "starting": "waiting",
    "processing": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "cancelled",
    "aborted": "failed",
}
_ABORTED: Final = "Replicate ended it before it had begun."
_UNREADABLE: Final = "Replicate's answer cannot be read."


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What is kept of what Replicate says of a model, or of a version of one: its documents may be large."""

    description: str
    version: str | None
    is_official: bool
    input_schema: Mapping[str, Any]


@dataclass(frozen=True)
class _Known:
    """What was asked of the API, good until `until` (`time.monotonic`)."""

    value: _Told | str
    until: float


_kept: OrderedDict[tuple[str, ...], _Known] = OrderedDict()


class Replicate(Provider):
    """`owner/name` or `owner/name:version`."""

    name: ClassVar[str] = "replicate"
    model_ids: ClassVar[re.Pattern[str]] = re.compile(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}(:[0-9a-f]{64})?"
    )

    def check_configured(self) -> None:
        if not self._settings.replicate_api_token.get_secret_value():
            raise NotConfigured(
                "Replicate is not set up on this server (MEDIAKEEP_REPLICATE_API_TOKEN); a local model needs nothing."
            )

    def can_call(self, base_url: str) -> bool:
        """Replicate calls https only; a stand-in on this machine also http."""
        is_stand_in = is_loopback(urlsplit(self._settings.replicate_api_url).hostname or "")
        return base_url.startswith("https://") or is_stand_in

    def listed(self) -> Sequence[str]:
        return self._settings.replicate_models

    async def describe(self, model_id: str) -> Model:
        name, _, version = model_id.partition(":")
        allowed = self._settings.replicate_models
        if allowed and name not in allowed:
            raise UnknownModel(f"This server asks these models of Replicate: {', '.join(allowed)}.")
        told = await self._told_of(name, version)
        return Model(
            model_id=model_id,
            provider=self.name,
            title=name,
            description=told.description,
            input_schema=told.input_schema,
            version=version or told.version,
        )

    async def prepare(self, order: Order) -> dict[str, Any]:
        there: dict[str, str] = {}
        for address in sorted(order.sources):
            async with order.open_source(address) as file:
                there[address] = await self._hand_over(file)
        prepared: dict[str, Any] = replaced(order.input, lambda text: there.get(text, text))
        return prepared

    async def submit(self, order: Order, prepared: Mapping[str, Any]) -> str:
        body: dict[str, Any] = {"input": dict(prepared)}
        if order.webhook_url:
            body |= {"webhook": order.webhook_url, "webhook_events_filter": ["start", "logs", "completed"]}
        try:
            path, version = await self._door(order.model_id)
        except ProviderAway as error:
            raise NotSubmitted(error.detail, after_seconds=error.after_seconds) from error
        except UnknownModel as error:
            raise RefusedByProvider(str(error)) from error
        status, answer = await self._submit(path, body | version)
        if status in {200, 201, 202} and _is_reference(reference := answer.get("id")):
            return reference
        if status == 429:
            raise NotSubmitted(_detail(answer), after_seconds=_seconds_to_wait(answer))
        if 400 <= status < 500 and status not in {408, 425}:
            raise RefusedByProvider(self._refusal(status, answer))
        raise ProviderAway(f"Replicate answered {status}.")

    async def find(self, order: Order, digests: Mapping[str, str], *, since: datetime) -> Sequence[str]:
        """Those of the account's predictions that are of this model, with these inputs, made by the API."""
        name, _, version = order.model_id.partition(":")
        path = f"/predictions?created_after={quote(since.strftime('%Y-%m-%dT%H:%M:%S.%fZ'))}"
        found: list[str] = []
        for _ in range(_MOST_PAGES):
            page = await self._get(path)
            entries = page.get("results")
            listed = entries if isinstance(entries, list) else []
            found += [entry["id"] for entry in listed if _is_order(entry, name, version, digests)]
            following = page.get("next")
            if not isinstance(following, str) or not following.startswith(f"{self._api}/"):
                break
            path = following.removeprefix(self._api)
        return found

    async def look(self, reference: str, order: Order, *, report: Report) -> Look:  # noqa: ARG002 it is one answer
        try:
            prediction = await self._get(
                f"/predictions/{quote(reference, safe='')}", unknown="Replicate no longer knows it."
            )
        except _NotThere:
            raise
        except RefusedByProvider as error:  # the token, which may be good again before the output is lost
            raise ProviderAway(str(error)) from error
        said = prediction.get("status")
        status = _STATUSES.get(said) if isinstance(said, str) else None
        if status is None:
            raise ProviderAway(_UNREADABLE)
        if status == "succeeded" and prediction.get("output") is None and prediction.get("data_removed"):
            raise RefusedByProvider("Replicate had removed the output before it could be fetched.")
        return Look(
            status=status,
            progress=_progress(prediction.get("logs")),
            error=_ABORTED if said == "aborted" else _error(prediction.get("error")),
            outputs=_outputs(prediction.get("output")) if status == "succeeded" else (),
            metrics=_metrics(prediction.get("metrics")),
            version=_version_of(prediction, "version"),
        )

    async def cancel(self, reference: str) -> bool:
        """It ends when a look says so: a cancel that comes too late changes nothing."""
        status, answer = await self._request(
            "POST", f"/predictions/{quote(reference, safe='')}/cancel", json={}
        )
        if status != 404:
            self._checked(status, answer)
        return False

    async def fetch(self, output: str, receiver: Receiver) -> None:
        if output.startswith("data:"):
            await _write(receiver, output)
            return
        try:
            async with asyncio.timeout(_OUTPUT_SECONDS), self._opened_output(output) as answer:
                # As it comes: who gathers a batch first hears nothing of one that trickles.
                async for chunk in answer.aiter_raw():
                    await receiver.write(chunk)
        except outbound.UnknownHost as error:
            raise ProviderAway(f"An output could not be fetched: {error}") from error
        except outbound.RefusedAddress as error:
            raise RefusedByProvider(f"An output cannot be fetched: {error}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise ProviderAway(f"An output could not be fetched: {type(error).__name__}.") from error

    async def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        secret = self._settings.replicate_webhook_secret.get_secret_value() or await self._webhook_secret()
        try:
            told = Verifier(secret).verify(body, dict(headers))
        except (WebhookVerificationError, ValueError) as error:  # of headers that are no base64, say
            raise BadRequest("The signature of the webhook is missing, wrong or too old.") from error
        reference = told.get("id") if isinstance(told, dict) else None
        if not _is_reference(reference):
            raise BadRequest("The webhook does not say which prediction it is about.")
        return reference

    @property
    def _settings(self) -> Settings:
        return self.library.settings

    @property
    def _api(self) -> str:
        return self._settings.replicate_api_url

    async def _door(self, model_id: str) -> tuple[str, dict[str, str]]:
        """The path that predictions of a model are created at, and what the body says of its version.

        Official models are run by their names, and may have no version to name.
        """
        name, _, version = model_id.partition(":")
        if not version:
            told = await self._told_of(name, "")
            if told.is_official or told.version is None:
                return f"/models/{name}/predictions", {}
            version = told.version
        return "/predictions", {"version": f"{name}:{version}"}

    async def _told_of(self, name: str, version: str) -> _Told:
        path = f"/models/{name}/versions/{version}" if version else f"/models/{name}"
        unknown = f"Replicate knows no model {name}{':' if version else ''}{version}."
        told = await self._keep(path, _told_by, unknown=unknown)
        assert isinstance(told, _Told)
        return told

    async def _webhook_secret(self) -> str:
        try:
            secret = await self._keep("/webhooks/default/secret", _secret_of, unknown=_UNREADABLE)
        except (UnknownModel, RefusedByProvider) as error:
            raise ProviderAway(str(error)) from error
        assert isinstance(secret, str)
        return secret

    async def _keep(
        self, path: str, read: Callable[[Mapping[str, Any]], _Told | str], *, unknown: str
    ) -> _Told | str:
        """What `read` finds in the answer to GET, asked for once in a while. Raises `UnknownModel` where there is none."""
        name = (self._api, digest(self._settings.replicate_api_token.get_secret_value()), path)
        known = _kept.get(name)
        if known is None or known.until < time.monotonic():
            try:
                answer = await self._get(path, unknown=unknown)
            except _NotThere as error:
                raise UnknownModel(unknown) from error
            known = _kept[name] = _Known(read(answer), time.monotonic() + _KEPT_SECONDS)
            while len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)
        return known.value

    async def _hand_over(self, file: SourceFile) -> str:
        """A file as an input that Replicate can read, also where this server is on no public network."""
        if file.size <= _DATA_URL_BYTES:
            content = file.path.read_bytes()  # small, and in the page cache
            return f"data:{file.media_type};base64,{base64.b64encode(content).decode()}"
        if file.size > _FILE_BYTES:
            raise RefusedByProvider("Replicate takes files of up to 100 MB as inputs.")
        with file.path.open("rb") as content_file:
            part = (_ascii(file.name), content_file, file.media_type)
            status, answer = await self._request(
                "POST", "/files", files={"content": part}, seconds=_FILE_SECONDS
            )
        if status == 429:
            raise ProviderAway(_detail(answer), after_seconds=_seconds_to_wait(answer))
        if status >= 500:
            raise ProviderAway(f"Replicate did not take an input file: it answered {status}.")
        address = _member(answer, "urls").get("get")
        if status != 201 or not isinstance(address, str):
            raise RefusedByProvider(self._refusal(status, answer))
        return address

    async def _get(self, path: str, *, unknown: str = _UNREADABLE) -> Mapping[str, Any]:
        status, answer = await self._request("GET", path)
        if status == 404:
            raise _NotThere(unknown)
        return self._checked(status, answer)

    def _checked(self, status: int, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        if status in {401, 402, 403}:
            raise RefusedByProvider(self._refusal(status, answer))
        if status == 429:
            raise ProviderAway(_detail(answer), after_seconds=_seconds_to_wait(answer))
        if status != 200:
            raise ProviderAway(f"Replicate answered {status}.")
        return answer

    async def _submit(self, path: str, body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        try:
            return await self._request("POST", path, json=dict(body))
        except ProviderAway as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                raise NotSubmitted(error.detail) from error
            raise

    async def _request(
        self, method: str, path: str, *, seconds: float = _API_SECONDS, **content: Any
    ) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON of the API's answer. Raises `ProviderAway`, with httpx's error as its cause."""
        token = self._settings.replicate_api_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=outbound.CONNECT_SECONDS)
        try:
            async with (
                asyncio.timeout(seconds),
                httpx.AsyncClient(timeout=timeout, verify=outbound.tls(), trust_env=False) as client,
                client.stream(method, f"{self._api}{path}", headers=headers, **content) as answer,
            ):
                body = await _read(answer)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ProviderAway(f"Replicate does not answer: {type(error).__name__}.") from error
        if body.count(b"[") + body.count(b"{") > _MOST_CONTAINERS:
            raise ProviderAway(_UNREADABLE)
        try:
            document = from_json(body) if body else {}
        except ValueError as error:
            raise ProviderAway(_UNREADABLE) from error
        if not isinstance(document, dict):
            raise ProviderAway(_UNREADABLE)
        return answer.status_code, {**document, "ratelimit-reset": answer.headers.get("ratelimit-reset")}

    def _refusal(self, status: int, answer: Mapping[str, Any]) -> str:
        if status in {401, 403}:
            return "Replicate does not accept this server's API token."
        said = _detail(answer).strip().replace("\n", " ")
        return f"Replicate refuses it: {said}" if said else f"Replicate refuses it with {status}."

    @asynccontextmanager
    async def _opened_output(self, address: str) -> AsyncIterator[httpx.Response]:
        """The answer with an output's bytes; redirects are followed to public addresses only."""
        for _ in range(_MOST_REDIRECTS + 1):
            url = outbound.parse(address)
            allow_private = _origin(url) == _origin(httpx.URL(self._api))  # where the API is, a stand-in say
            async with outbound.requested(
                "GET", url, headers={}, allow_private=allow_private, read_seconds=_SILENCE_SECONDS
            ) as answer:
                if answer.has_redirect_location:
                    address = _joined(url, answer.headers["location"])
                    continue
                _check_output(answer.status_code)
                yield answer
                return
        raise RefusedByProvider("An output is behind too many redirects.")


class _NotThere(RefusedByProvider):
    """The API has no such thing."""


async def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _MOST_ANSWER_BYTES:
            raise ProviderAway(_UNREADABLE)
    return bytes(body)


async def _write(receiver: Receiver, data_url: str) -> None:
    try:
        content = read_data_url(data_url)
    except ValueError as error:
        raise RefusedByProvider("An output is a data URL that cannot be read.") from error
    await receiver.write(content)


def _check_output(status: int) -> None:
    if status == 429 or status >= 500:
        raise ProviderAway(f"An output could not be fetched: {status}.")
    if status != 200:
        raise RefusedByProvider(f"An output cannot be fetched: its address answers {status}.")


def _told_by(document: Mapping[str, Any]) -> _Told:
    """By the document of a model, or that of a version."""
    version = document if "openapi_schema" in document else _member(document, "latest_version")
    components = _member(_member(_member(version, "openapi_schema"), "components"), "schemas")
    description = document.get("description")
    return _Told(
        description=description[:2000] if isinstance(description, str) else "",
        version=_version_of(version),
        is_official=document.get("is_official") is True,
        input_schema=bounded(components.get("Input"), components),
    )


def _secret_of(answer: Mapping[str, Any]) -> str:
    if not isinstance(secret := answer.get("key"), str):
        raise ProviderAway(_UNREADABLE)
    return secret


def _is_reference(given: object) -> TypeGuard[str]:
    return isinstance(given, str) and _REFERENCE.fullmatch(given) is not None


def _is_order(entry: object, name: str, version: str, digests: Mapping[str, str]) -> bool:
    """Whether an entry of the list may be what was submitted: what it says of model and input must agree.

    Inputs that Replicate has added, defaults say, do not matter.
    """
    if not isinstance(entry, Mapping) or not _is_reference(entry.get("id")):
        return False
    given = entry.get("input")
    if entry.get("model") != name or not isinstance(given, Mapping):
        return False
    if version and entry.get("version") != version:
        return False
    return all(key in given and digest(given[key]) == expected for key, expected in digests.items())


def _outputs(output: object) -> list[str]:
    """The addresses of files in an output of any shape."""
    found: dict[str, None] = {}
    left = deque([output])
    for _ in range(_MOST_NODES):
        if not left or len(found) == _MOST_OUTPUTS:
            break
        one = left.popleft()
        if isinstance(one, str) and one.startswith(("https://", "http://", "data:")):
            found[one] = None
        elif isinstance(one, Mapping):
            left.extendleft(reversed(list(islice(one.values(), _MOST_NODES))))
        elif isinstance(one, list):
            left.extendleft(reversed(one[:_MOST_NODES]))
    return list(found)


def _progress(logs: object) -> float | None:
    if not isinstance(logs, str):
        return None
    percents = _PERCENT.findall(logs[-_LOGS_LOOKED_AT:])
    return min(int(percents[-1]), 100) / 100 if percents else None


def _error(error: object) -> str | None:
    return None if error is None else str(error)[:1000]


def _metrics(metrics: object) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        return {}
    measured = [name for name, value in metrics.items() if _is_measure(value) and "\0" not in name]
    return {name[:50]: float(metrics[name]) for name in measured[:_MOST_METRICS]}


def _is_measure(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _LARGEST_METRIC  # which is not so of NaN


def _version_of(document: Mapping[str, Any], member: str = "id") -> str | None:
    found = document.get(member)
    return found if isinstance(found, str) and _VERSION.fullmatch(found) else None


def _member(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _detail(answer: Mapping[str, Any]) -> str:
    return str(answer.get("detail") or answer.get("title") or "")[:500]


def _seconds_to_wait(answer: Mapping[str, Any]) -> float:
    given = str(answer.get("ratelimit-reset") or answer.get("retry_after"))[:20]
    return min(max(float(given), 1.0), 600.0) if _SECONDS.fullmatch(given) else 30.0


def _ascii(name: str) -> str:
    return name.encode("ascii", "replace").decode().replace("?", "_")[:200]


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _joined(url: httpx.URL, location: str) -> str:
    try:
        return str(url.join(location))
    except (httpx.InvalidURL, ValueError) as error:  # the latter for "http:////]", of the standard library
        raise outbound.RefusedAddress("It leads to what is no address.") from error
