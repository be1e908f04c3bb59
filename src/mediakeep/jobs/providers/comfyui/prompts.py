"""Where a prompt is, which is what ComfyUI calls a workflow that it was given: in its queue, or in its history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mediakeep.jobs.providers.comfyui.server import Server, nonsense

#: How many of the last to have ended are searched for one that got another id than was asked for.
_RECENT = 16


@dataclass(frozen=True, kw_only=True)
class Place:
    """A prompt in the queue; `before` is how many come before it, those that run included."""

    kind: Literal["running", "waiting"]
    prompt_id: str
    client_id: str | None
    workflow: object
    before: int


async def find_entry(server: Server, prompt_id: str) -> object:
    """What the history has of a prompt that has ended; None where it has nothing. Raises `ProviderAway`."""
    history = await server.get(f"/history/{prompt_id}")
    if not isinstance(history, Mapping):
        raise nonsense()
    return history.get(prompt_id)


async def find_place(server: Server, prompt_id: str) -> Place | None:
    """Where in the queue a prompt is. Raises `ProviderAway`."""
    return next((one for one in await _queue(server) if one.prompt_id == prompt_id), None)


async def find_id(server: Server, job_id: str) -> str | None:
    """The id of a job's prompt, which is the job's own; servers of old gave one of theirs. Raises `ProviderAway`.

    Looks where a prompt is first, then where it goes.
    """
    for place in await _queue(server):
        if job_id in {place.prompt_id, place.client_id}:
            return place.prompt_id
    if await find_entry(server, job_id) is not None:
        return job_id
    recent = await server.get(f"/history?max_items={_RECENT}")
    if not isinstance(recent, Mapping):
        raise nonsense()
    entries = [one.get("prompt") for one in recent.values() if isinstance(one, Mapping)]
    return next((_prompt_id(item) for item in entries if _client_id(item) == job_id), None)


async def _queue(server: Server) -> list[Place]:
    match await server.get("/queue"):
        case {"queue_running": list() as running, "queue_pending": list() as waiting}:
            waiting = sorted(waiting, key=_number)  # a heap is told as it lies
            return [_place(item, before, len(running)) for before, item in enumerate(running + waiting)]
    raise nonsense()


def _place(item: object, before: int, running: int) -> Place:
    is_running = before < running
    return Place(
        kind="running" if is_running else "waiting",
        prompt_id=_prompt_id(item) or "",
        client_id=_client_id(item),
        workflow=_member(item, 2),
        before=before,
    )


def _number(item: object) -> float:
    number = _member(item, 0)
    return number if isinstance(number, int | float) else 0


def _prompt_id(item: object) -> str | None:
    found = _member(item, 1)
    return found if isinstance(found, str) else None


def _client_id(item: object) -> str | None:
    extra = _member(item, 3)
    found = extra.get("client_id") if isinstance(extra, Mapping) else None
    return found if isinstance(found, str) else None


def _member(item: object, index: int) -> Any:  # unchecked JSON
    """Of [number, prompt's id, workflow, extra data, …]; None where it is no such list."""
    return (
        item[index]
        if isinstance(item, Sequence) and not isinstance(item, str) and len(item) > index
        else None
    )
