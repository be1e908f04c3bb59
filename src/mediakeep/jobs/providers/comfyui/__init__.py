"""Workflows that a ComfyUI server runs. docs/comfyui.md says how they come to be models."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from mediakeep.files.receive import Receiver
from mediakeep.jobs.providers.base import (
    Look,
    Model,
    NotConfigured,
    NotSubmitted,
    Order,
    Provider,
    RefusedByProvider,
    Report,
)
from mediakeep.jobs.providers.comfyui import outcome, server, templates
from mediakeep.jobs.providers.comfyui.progress import Progress, listening
from mediakeep.jobs.providers.comfyui.prompts import Place, find_entry, find_id, find_place
from mediakeep.jobs.providers.comfyui.uploads import upload
from mediakeep.library import Library

_PREFIX: Final = "comfyui/"

#: The history is written a moment after the end was told: how long to wait for it, each time, seconds.
HISTORY_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8)

#: Between queue and history a prompt is in neither for a moment: what is not there is looked for again, seconds.
SECOND_LOOK_SECONDS = 1.0

_RUNNING_PAUSE_SECONDS = 1.0
_WAITING_PAUSE_SECONDS = 2.0  # for each that comes before
_LONGEST_PAUSE_SECONDS = 20.0

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,100}")


class ComfyUI(Provider):
    """A job's id is its client's id at the server and, where that is new enough, its prompt's id."""

    name: ClassVar[str] = "comfyui"
    finds_by_id: ClassVar[bool] = True
    model_ids: ClassVar[re.Pattern[str]] = re.compile(r"comfyui/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._server = server.server_of(library.settings)

    def check_configured(self) -> None:
        if not self._server.url:
            raise NotConfigured("ComfyUI is not configured: MEDIAKEEP_COMFYUI_URL must say where it is.")

    def listed(self) -> Sequence[str]:
        return [f"{_PREFIX}{name}" for name in templates.names(self._folder)] if self._server.url else []

    async def describe(self, model_id: str) -> Model:
        template = await self._template(model_id)
        return Model(
            model_id=model_id,
            provider=self.name,
            title=template.title,
            description=template.description,
            input_schema=template.input_schema,
            version=template.version,
            drawn={slot.name: slot.random for slot in template.slots if slot.random},
        )

    async def prepare(self, order: Order) -> dict[str, Any]:
        """The whole workflow, as ComfyUI gets it."""
        template = await self._template(order.model_id)
        values = dict(order.input)
        for slot in template.slots:
            if slot.is_file and slot.name in values:
                values[slot.name] = await upload(self._server, order, slot.name, values[slot.name])
        return templates.filled(template, values, job_id=order.job_id)

    async def submit(self, order: Order, prepared: Mapping[str, Any]) -> str:
        asked = {"prompt": dict(prepared), "prompt_id": order.job_id, "client_id": order.job_id}
        try:
            answer = await self._server.post("/prompt", asked)
        except server.NotReached as error:
            raise NotSubmitted(error.detail) from error
        if answer.status == 429:
            raise NotSubmitted("ComfyUI answered 429.")
        if 300 <= answer.status < 500:
            raise RefusedByProvider(outcome.refusal(answer))
        if answer.status != 200:
            raise server.unexpected(answer.status)
        match answer.json():
            case {"prompt_id": str() as reference} if _REFERENCE.fullmatch(reference):
                return reference
        raise server.nonsense()

    async def find(
        self,
        order: Order,
        digests: Mapping[str, str],  # noqa: ARG002 ids are enough
        *,
        since: datetime,  # noqa: ARG002
    ) -> Sequence[str]:
        found = await find_id(self._server, order.job_id)
        return [found] if found and _REFERENCE.fullmatch(found) else []

    async def look(self, reference: str, order: Order, *, report: Report) -> Look:
        for is_last in (False, True):
            if (entry := await find_entry(self._server, reference)) is not None:
                return outcome.read(entry)
            if (place := await find_place(self._server, reference)) is not None:
                return await self._look_at(place, order, report)
            if not is_last:
                await asyncio.sleep(SECOND_LOOK_SECONDS)
        raise RefusedByProvider("ComfyUI no longer knows this job; it was restarted, perhaps.")

    async def cancel(self, reference: str) -> bool:
        place = await find_place(self._server, reference)
        if place and place.kind == "waiting":
            await self._have("/queue", {"delete": [reference]})
            place = await find_place(self._server, reference)  # it may have begun meanwhile
        if place and place.kind == "running":
            # Servers of old interrupt whatever runs: so only while that is this one.
            await self._have("/interrupt", {"prompt_id": reference})
        return place is None and await find_entry(self._server, reference) is None

    async def fetch(self, output: str, receiver: Receiver) -> None:
        seconds = server.DOWNLOAD_SECONDS
        async with self._server.streamed("GET", f"/view?{output}", seconds=seconds) as answer:
            if answer.status_code in {400, 404}:
                raise RefusedByProvider("ComfyUI no longer has an output of this job.")
            if answer.status_code != 200:
                raise server.unexpected(answer.status_code)
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise server.nonsense()
            async for chunk in answer.aiter_raw():
                await receiver.write(chunk)

    @property
    def _folder(self) -> Path:
        given = self.library.settings.comfyui_workflows
        return Path(given).expanduser() if given else self.library.settings.data / "comfyui"

    async def _template(self, model_id: str) -> templates.Template:
        """Raises `UnknownModel`."""
        return await asyncio.to_thread(templates.read, self._folder, model_id.removeprefix(_PREFIX))

    async def _look_at(self, place: Place, order: Order, report: Report) -> Look:
        if place.kind == "waiting":
            pause = min(_WAITING_PAUSE_SECONDS * max(place.before, 1), _LONGEST_PAUSE_SECONDS)
            return Look(status="waiting", again_seconds=pause)
        progress = Progress(place.prompt_id, place.workflow, report)
        async with listening(self._server, order.job_id) as messages:
            # It may have ended before anybody listened.
            if (entry := await find_entry(self._server, place.prompt_id)) is not None:
                return outcome.read(entry)
            async for kind, data in messages:
                progress.hear(kind, data)
                if progress.has_ended:
                    break
        for pause in HISTORY_PAUSES if progress.has_ended else ():
            if (entry := await find_entry(self._server, place.prompt_id)) is not None:
                return outcome.read(entry)
            await asyncio.sleep(pause)
        return Look(status="running", progress=progress.share, again_seconds=_RUNNING_PAUSE_SECONDS)

    async def _have(self, path: str, value: Mapping[str, Any]) -> None:
        """Have the server do something. Raises `ProviderAway` where it does not say that it has."""
        answer = await self._server.post(path, value)
        if answer.status != 200:
            raise server.unexpected(answer.status)
