"""What came out of a model: fetched at once, through the same pipeline as uploads, and made assets or generations."""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import assets, collections
from mediakeep.assets import cdn, generations
from mediakeep.assets.metadata import check_metadata
from mediakeep.assets.models import Asset
from mediakeep.assets.service import NewAsset
from mediakeep.assets.text import MAX_DESCRIPTION_LENGTH, check_description, check_name, clean_file_name
from mediakeep.collections.service import Belonging
from mediakeep.errors import InvalidInput, NotFound
from mediakeep.files.ingest import Ingested, ingest
from mediakeep.files.receive import Received, receiving
from mediakeep.jobs import service
from mediakeep.jobs.models import Job
from mediakeep.jobs.providers.base import Look, Provider, ProviderAway, RefusedByProvider
from mediakeep.library import Library
from mediakeep.media.sniff import describe, sniff
from mediakeep.settings import MIB, Settings

MAX_OUTPUTS: Final = 50

#: What the image of a generation may be.
_GENERATION_FORMATS: Final = frozenset({"png", "jpg", "webp"})

_NAME_CHARACTERS = 80

#: All outputs of a job may have as many bytes as so many of the largest.
_OUTPUTS_TOGETHER = 4

#: Outputs that are slower than this, once they have had some time, are left for later.
_LEAST_BYTES_PER_SECOND = 16 * 1024
_GRACE_SECONDS = 30.0


class _Pace:
    """What the outputs of a job may cost together: a trickle must not hold a worker, nor all of them fill the disk."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._seconds = 0.0
        self._bytes = 0

    @contextmanager
    def output(self) -> Iterator[Callable[[int], None]]:
        """For one output: what is called with its bytes so far. Raises `RefusedByProvider`, `ProviderAway`."""
        began = time.monotonic()
        size = 0

        def check(so_far: int) -> None:
            nonlocal size
            size = so_far
            if self._bytes + size > _OUTPUTS_TOGETHER * self._most_bytes:
                raise RefusedByProvider("The outputs together are larger than what is taken.")
            seconds = self._seconds + time.monotonic() - began
            if seconds > _GRACE_SECONDS and self._bytes + size < seconds * _LEAST_BYTES_PER_SECOND:
                raise ProviderAway("An output came too slowly.")

        yield check
        self._seconds += time.monotonic() - began
        self._bytes += size


@asynccontextmanager
async def fetched(
    library: Library, provider: Provider, job: Job, outputs: Sequence[str]
) -> AsyncIterator[list[Ingested]]:
    """The outputs, their bytes in the store; the block records them in its transaction and commits.

    Raises `RefusedByProvider` for what is no medium, or too large; `UndecodableMedia`; `Unavailable`.
    """
    pace = _Pace(library.settings.max_output_bytes)
    async with AsyncExitStack() as stack:
        contents: list[Ingested] = []
        for output in outputs[:MAX_OUTPUTS]:
            received = await stack.enter_async_context(_received(library, provider, output, pace))
            content = await stack.enter_async_context(ingest(library, received))
            if job.generation_id and content.format.name not in _GENERATION_FORMATS:
                raise RefusedByProvider(
                    f"The model made {content.format.media_type}, but an image asset takes PNG, JPEG or WebP."
                )
            contents.append(content)
        yield contents


@asynccontextmanager
async def _received(
    library: Library, provider: Provider, output: str, pace: _Pace
) -> AsyncIterator[Received]:
    limit = library.settings.max_output_bytes

    def check_size(size: int) -> None:
        if size > limit:
            raise RefusedByProvider(
                f"An output has more than {limit / MIB:g} MB, which is as much as is taken."
            )
        keep_pace(size)

    def check_head(head: bytes) -> None:
        if not head:
            raise RefusedByProvider("An output is empty.")
        if sniff(head) is None:
            raise RefusedByProvider(
                f"An output is {describe(head)}, which is none of the media that are kept."
            )

    async with receiving(library.store.scratch, on_size=check_size, on_head=check_head) as receiver:
        with pace.output() as keep_pace:
            await provider.fetch(output, receiver)
            received = await receiver.finish()
        yield received


async def keep(
    session: AsyncSession, settings: Settings, job: Job, look: Look, contents: Sequence[Ingested]
) -> None:
    """Make assets, or generations of one, of what came out, and end the job, whose row is locked.

    Raises `NotFound` where the image asset or its generation is gone.
    """
    job.version = look.version or job.version
    job.metrics, job.cost = dict(look.metrics), look.cost
    if len(look.outputs) > MAX_OUTPUTS:
        job.notes = [*job.notes, f"Of {len(look.outputs)} outputs the first {MAX_OUTPUTS} were kept."]
    if job.generation_id:
        await _keep_generations(session, settings, job, contents)
    else:
        await _keep_assets(session, job, contents)
    job.output_types = [content.family for content in contents]
    await service.end(session, job, "completed")


async def _keep_assets(session: AsyncSession, job: Job, contents: Sequence[Ingested]) -> None:
    belonging = await _belonging(session, job)
    ids: list[int] = []
    for number, content in enumerate(contents, 1):
        file = await content.record(session, owner_id=job.owner_id)
        new = NewAsset(
            type=content.family,
            name=_name(job, number, len(contents)),
            file_name=_file_name(job, number, content),
            visibility=job.placing["visibility"],
            description=_description(job),
            metadata=_metadata(job, number, content),
            belonging=belonging,
        )
        ids.append(await assets.service.create(session, service.owner_of(job), new, file=file))
    found = (await session.execute(select(Asset.id, Asset.public_id).where(Asset.id.in_(ids)))).all()
    public_ids = {row.id: row.public_id for row in found}
    job.outputs = [public_ids[one] for one in ids]


async def _keep_generations(
    session: AsyncSession, settings: Settings, job: Job, contents: Sequence[Ingested]
) -> None:
    """The first output completes the generation that was begun with the job; each further one is a generation more."""
    assert job.generation_id is not None
    assert job.target_asset_id is not None
    owner = service.owner_of(job)
    ids: list[str] = []
    for number, content in enumerate(contents, 1):
        generation_id = job.generation_id
        if number > 1:
            more = await generations.create(
                session, owner, job.target_asset_id, parameters=service.parameters_of(job)
            )
            generation_id = more.public_id
        await generations.lock_for_image(session, owner, generation_id)
        file = await content.record(session, owner_id=job.owner_id)
        await generations.attach(session, owner, generation_id, file)
        metadata = _metadata(job, number, content)
        await generations.change(session, owner, generation_id, {"metadata": metadata})
        ids.append(generation_id)
    job.outputs = ids
    await cdn.purge(session, settings, [job.target_asset_id])


async def _belonging(session: AsyncSession, job: Job) -> Belonging:
    """The collections that the job named, without those that are gone by now."""
    given = {name: job.placing.get(name) for name in vars(Belonging())}
    for name, public_id in given.items():
        if public_id is None:
            continue
        try:
            await collections.service.resolve(session, job.owner_id, Belonging(**{name: public_id}))
        except NotFound as error:
            given[name] = None
            job.notes = [*job.notes, f"{error.detail.removesuffix(' not found')} was deleted meanwhile."]
    return Belonging(**given)


def _metadata(job: Job, number: int, content: Ingested) -> dict[str, Any]:
    told = {**content.told, "generation": _lineage(job, number)}
    try:
        return check_metadata(told)
    except InvalidInput:  # too much, or too deep for where it is here; the job itself still has it
        short = {"job_id": job.public_id, "output": number, "model": job.model}
        return {**content.told, "generation": short}


def _lineage(job: Job, number: int) -> dict[str, Any]:
    """Where an output comes from: job, model, version, parameters, seed, sources, cost and times."""
    return {
        "job_id": job.public_id,
        "output": number,
        "provider": job.provider,
        "model_id": job.model_id,
        "model": job.model,
        "version": job.version,
        "parameters": service.parameters_of(job),
        "seed": job.input.get("seed"),
        "source_assets": sorted({source.partition(":")[2] for source in job.sources.values()}),
        "cost": job.cost,
        "metrics": job.metrics,
        "created_at": f"{job.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "submitted_at": f"{job.submitted_at:%Y-%m-%dT%H:%M:%SZ}" if job.submitted_at else None,
    }


def _description(job: Job) -> str:
    """The prompt, by which it can be found."""
    try:
        return check_description(_prompt(job)[:MAX_DESCRIPTION_LENGTH])
    except InvalidInput:
        return ""


def _prompt(job: Job) -> str:
    given = job.input.get("prompt")
    return given if isinstance(given, str) and given else job.prompt


def _name(job: Job, number: int, count: int) -> str:
    words = " ".join(_prompt(job).split())[:_NAME_CHARACTERS] or job.model.rpartition("/")[2]
    try:
        name = check_name(words)
    except InvalidInput:
        name = job.model
    return f"{name} {number}" if count > 1 else name


def _file_name(job: Job, number: int, content: Ingested) -> str:
    model = re.sub(r"[^A-Za-z0-9.-]+", "-", job.model.rpartition("/")[2].partition(":")[0])
    return clean_file_name(f"{model}-{job.public_id[:8]}-{number}.{content.format.extensions[0]}")
