"""Models that run inside Mediakeep, without any network: films made of images, in a process of their own."""

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from mediakeep.errors import InvalidInput, Unavailable, UndecodableMedia
from mediakeep.files.receive import BATCH_BYTES, Receiver
from mediakeep.jobs.providers.base import (
    Look,
    Model,
    Order,
    Provider,
    RefusedByProvider,
    Report,
    UnknownModel,
)
from mediakeep.jobs.schemas import bounded
from mediakeep.jobs.values import read_data_url, texts_in
from mediakeep.media import local_models
from mediakeep.media.limits import limits_from

#: While another film is made, seconds. The end of that one comes sooner, but maybe to another process.
_AGAIN_SECONDS = 20.0

_SUFFIX = ".mp4"


class Local(Provider):
    """Submitting does nothing, and looking makes the film: what is killed in between is simply made again."""

    name: ClassVar[str] = "local"
    model_ids: ClassVar[re.Pattern[str]] = re.compile(r"local/.*", re.DOTALL)
    is_line: ClassVar[bool] = True
    finds_by_id: ClassVar[bool] = True

    def listed(self) -> Sequence[str]:
        return list(local_models.MODELS)

    async def describe(self, model_id: str) -> Model:
        model = local_models.MODELS.get(model_id)
        if model is None:
            raise UnknownModel(f"There is no local model of this name; there are {', '.join(self.listed())}.")
        schema = model.input_schema
        return Model(
            model_id=model_id,
            provider=self.name,
            title=model.title,
            description=model.description,
            input_schema=bounded(schema, schema.get("$defs")),
        )

    def check_input(self, model_id: str, values: Mapping[str, Any], *, sources: frozenset[str]) -> None:
        film = local_models.parse(model_id, values)
        for field, text in texts_in(values):
            if text in film.images and text not in sources and not text.startswith("data:"):
                raise InvalidInput("A local model takes images of this library, or data URLs.", field=field)

    async def prepare(self, order: Order) -> dict[str, Any]:
        return dict(order.input)

    async def submit(self, order: Order, prepared: Mapping[str, Any]) -> str:  # noqa: ARG002 nothing is begun
        return order.job_id

    async def find(
        self,
        order: Order,
        digests: Mapping[str, str],  # noqa: ARG002 the job's own id is its reference
        *,
        since: datetime,  # noqa: ARG002
    ) -> Sequence[str]:
        return [order.job_id]

    async def look(self, reference: str, order: Order, *, report: Report) -> Look:  # noqa: ARG002
        films = self.library.films
        if films.is_busy:
            return Look(status="waiting", again_seconds=_AGAIN_SECONDS)
        film = local_models.parse(order.model_id, order.input)
        target = self.library.store.scratch / f"film-{uuid.uuid4()}{_SUFFIX}"
        async with AsyncExitStack() as stack:
            pictures = [await self._picture(stack, order, address) for address in film.images]
            try:
                await films.render(
                    film, pictures, target, limits=limits_from(self.library.settings), on_progress=report
                )
            except UndecodableMedia as error:
                raise RefusedByProvider(error.detail) from error
        return Look(status="succeeded", progress=1.0, outputs=[target.name], cost=0.0)

    async def cancel(self, reference: str) -> bool:  # noqa: ARG002
        """Whoever cancels the job has ended the look that makes its film."""
        return True

    async def fetch(self, output: str, receiver: Receiver) -> None:
        path = self.library.store.scratch / output
        try:
            with path.open("rb") as film:
                while batch := await asyncio.to_thread(film.read, BATCH_BYTES):
                    await receiver.write(batch)
        except FileNotFoundError as error:  # it is made again
            raise Unavailable("The film has gone.") from error
        finally:
            path.unlink(missing_ok=True)

    async def _picture(self, stack: AsyncExitStack, order: Order, address: str) -> Path:
        if address in order.sources:
            return (await stack.enter_async_context(order.open_source(address))).path
        path = self.library.store.scratch / f"picture-{uuid.uuid4()}"
        stack.callback(path.unlink, missing_ok=True)
        await asyncio.to_thread(path.write_bytes, _decoded(address))
        return path


def _decoded(address: str) -> bytes:
    try:
        return read_data_url(address)
    except ValueError as error:
        raise RefusedByProvider("An input is no data URL that can be read.") from error
