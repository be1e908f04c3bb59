"""What a provider of models can do for jobs, and what passes between the two.

A provider keeps nothing: it is made anew from the opened library for each step of a job, so that whatever process goes
on with a job knows as much as the one before.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from mediakeep.errors import Unavailable
from mediakeep.files.receive import Receiver
from mediakeep.library import Library


class UnknownModel(Exception):
    """The provider has no such model; the message is a sentence."""


class NotConfigured(Exception):
    """The settings do not say how to reach the provider; the message is a sentence."""


class RefusedByProvider(Exception):
    """The provider will not do it, however often it is asked; the message is a sentence, which the job's owner reads."""


class NotSubmitted(Exception):
    """Certainly nothing was begun, and it may be tried again, once `after_seconds` have passed where that is known."""

    def __init__(self, message: str, *, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class ProviderAway(Unavailable):
    """The provider does not answer, or nonsense: to be tried again. Not known whether what was asked for is done.

    With `after_seconds` it has answered, and wants to be left alone for so long: that is no failure.
    """

    def __init__(self, detail: str, *, after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.after_seconds = after_seconds


@dataclass(frozen=True, kw_only=True)
class Model:
    """What can be asked for. `input_schema` is JSON Schema (2020-12) of an object, as `schemas.bounded` makes it."""

    model_id: str
    provider: str
    title: str
    description: str
    input_schema: Mapping[str, Any]
    version: str | None = None
    #: Whole numbers that are drawn where they are not given, such as seeds: the least and the greatest of each input.
    drawn: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """An asset's file that is an input: a path that holds while the block lasts which gave it, never to be changed."""

    path: Path
    name: str
    media_type: str
    size: int  # bytes
    sha256: str


#: Opens the file of an asset by the address in the input that stands for it. Raises `RefusedByProvider` where the
#: asset is not there any more.
OpenSource = Callable[[str], AbstractAsyncContextManager[SourceFile]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """A job as its provider is told of it."""

    job_id: str
    model_id: str
    input: Mapping[str, Any]  # JSON, checked by the model's schema
    #: The addresses in `input` that are this library's own assets.
    sources: frozenset[str]
    open_source: OpenSource
    #: Where the provider may tell that something has happened; None where it could not reach us.
    webhook_url: str | None


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a job stands at its provider.

    `outputs` are what `fetch` understands. `again_seconds` is when to look again, where the provider knows better than
    a job does. `progress` is a share, 0 to 1, None where it is not known. `cost` is in US dollars.
    """

    status: Literal["waiting", "running", "succeeded", "failed", "cancelled"]
    progress: float | None = None
    error: str | None = None
    outputs: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    cost: float | None = None
    version: str | None = None
    again_seconds: float | None = None


#: Told the share that is done while a provider is looked at; may be called as often as one likes.
Report = Callable[[float], None]


def digest(value: object) -> str:
    """SHA-256 (hex) of a JSON value, by which it is known again. 1.0 is 1: not every program keeps them apart."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:  # JSON
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def drawn(name: str, bounds: tuple[int, int], *, job_id: str) -> int:
    """A number within the bounds that is this job's own, and the same whenever it is asked for."""
    least, greatest = bounds
    seed = hashlib.sha256(f"{job_id}/{name}".encode()).digest()
    return least + int.from_bytes(seed[:16]) % (greatest - least + 1)


class Provider(ABC):
    """One kind of provider, which derives from this. Any call may raise `ProviderAway`."""

    #: What jobs and settings call it.
    name: ClassVar[str]
    #: Which model ids are its own.
    model_ids: ClassVar[re.Pattern[str]]
    #: Whether jobs wait here for one another to end, which those that wait are told of.
    is_line: ClassVar[bool] = False
    #: Whether `find` goes by the job's own id, so that no two submissions can be taken for each other.
    finds_by_id: ClassVar[bool] = False

    def __init__(self, library: Library) -> None:
        self.library = library

    def check_configured(self) -> None:  # noqa: B027 not every provider needs something
        """Raise `NotConfigured` where the settings lack something."""

    def can_call(self, base_url: str) -> bool:  # noqa: ARG002 most providers never call
        """Whether the provider calls back, and a server of this address."""
        return False

    @abstractmethod
    def listed(self) -> Sequence[str]:
        """The models that `GET /api/v2/models` shows; others may be asked for as well."""

    @abstractmethod
    async def describe(self, model_id: str) -> Model:
        """Raises `UnknownModel`, `RefusedByProvider`."""

    def check_input(  # noqa: B027 most schemas say all
        self, model_id: str, values: Mapping[str, Any], *, sources: frozenset[str]
    ) -> None:
        """Raise `InvalidInput` for what the schema cannot say. The values fit the schema.

        `sources` are the addresses in them that are this library's own assets.
        """

    @abstractmethod
    async def prepare(self, order: Order) -> dict[str, Any]:
        """The input as the provider is to get it: the library's own files put where it can read them.

        May be done more than once. Raises `RefusedByProvider`.
        """

    @abstractmethod
    async def submit(self, order: Order, prepared: Mapping[str, Any]) -> str:
        """Begin; returns the provider's own id of it. Never called twice for one job unless it raised `NotSubmitted`.

        Raises `RefusedByProvider`, `NotSubmitted`. After anything else it is not known whether it has begun.
        """

    @abstractmethod
    async def find(self, order: Order, digests: Mapping[str, str], *, since: datetime) -> Sequence[str]:
        """The provider's ids of what may be this order, begun at `since` or later: for when the answer was lost.

        `digests` has the `digest` of each member of what was submitted.
        """

    @abstractmethod
    async def look(self, reference: str, order: Order, *, report: Report) -> Look:
        """How it stands. May take as long as it works; is cancelled when the job is.

        Raises `RefusedByProvider` where the provider does not know it any more.
        """

    @abstractmethod
    async def cancel(self, reference: str) -> bool:
        """Have it end; whether it certainly has. What has ended before is fine."""

    @abstractmethod
    async def fetch(self, output: str, receiver: Receiver) -> None:
        """Write an output's bytes to the receiver. Raises `RefusedByProvider` where it cannot be had."""


@runtime_checkable
class TellsByWebhook(Protocol):
    """A provider that calls back."""

    async def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        """The provider's id of what a webhook is about. Raises `BadRequest` where it is not the provider's own."""
