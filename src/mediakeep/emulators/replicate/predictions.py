"""A prediction, and what the API tells of it."""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from mediakeep.emulators.replicate.catalogue import Model
from mediakeep.emulators.replicate.options import Options, Outcome
from mediakeep.emulators.replicate.webhooks import Deliveries

Status = Literal["starting", "processing"] | Outcome

# Crockford's base 32, of which the ids in recorded answers are made.
_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def _make_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(26))


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file that a prediction made; `key` is the part of its address that nobody can guess."""

    key: str
    name: str
    media_type: str
    content: bytes

    def url(self, base_url: str) -> str:
        return f"{base_url}/outputs/{self.key}/{self.name}"

    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


@dataclass(kw_only=True, eq=False)
class Prediction:
    """`base_url` is the address under which the client knows the server; `version` is as it is shown."""

    model: Model
    input: Mapping[str, Any]  # JSON as it was sent
    options: Options
    base_url: str
    deliveries: Deliveries
    deployment: str | None = None
    deadline: datetime | None = None
    id: str = field(default_factory=_make_id)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: Status = "starting"
    logs: str = ""
    outputs: tuple[Output, ...] = ()
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    data_removed: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    #: What is done for it, until it has ended.
    work: asyncio.Task[None] | None = None


def document(prediction: Prediction) -> dict[str, object]:
    """The answer to GET. What there is nothing of yet is left out: output, times, metrics."""
    one = prediction
    known = {
        "started_at": iso(one.started_at),
        "completed_at": iso(one.completed_at),
        "deadline": iso(one.deadline),
        "deployment": one.deployment,
        "metrics": _metrics(one),
    }
    return {
        "id": one.id,
        "model": one.model.full_name,
        "version": one.model.shown_version,
        "input": one.input,
        "logs": one.logs,
        **({"output": _output(one)} if one.outputs or one.ended.is_set() else {}),
        "data_removed": one.data_removed,
        "error": one.error,
        "status": one.status,
        "created_at": iso(one.created_at),
        **{name: value for name, value in known.items() if value is not None},
        "urls": {
            "cancel": f"{one.base_url}/v1/predictions/{one.id}/cancel",
            "get": f"{one.base_url}/v1/predictions/{one.id}",
            "web": f"{one.base_url}/p/{one.id}",
        },
    }


def listed(prediction: Prediction) -> dict[str, object]:
    """An entry of the list: without logs, with where it came from."""
    entry = document(prediction)
    del entry["logs"]
    return {**entry, "source": "api"}


def iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z") if time else None


def output_value(prediction: Prediction, addresses: list[str]) -> object:
    """The addresses in the shape of the model's output."""
    return addresses[0] if prediction.model.produces == "video" else addresses


def _output(prediction: Prediction) -> object:
    if not prediction.outputs:
        return None
    return output_value(prediction, [one.url(prediction.base_url) for one in prediction.outputs])


def _metrics(prediction: Prediction) -> dict[str, float] | None:
    if prediction.completed_at is None:
        return None
    metrics = {"total_time": (prediction.completed_at - prediction.created_at).total_seconds()}
    if prediction.started_at:
        metrics["predict_time"] = (prediction.completed_at - prediction.started_at).total_seconds()
    return metrics
