"""The full-text index made from the assets: of a library that had none, and anew where it may have gone wrong."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import index
from mediakeep.assets import found
from mediakeep.assets.models import Asset
from mediakeep.db import Database
from mediakeep.index.vocabulary import clear_terms

#: Assets that one transaction indexes; under SQLite's one writer everybody else waits for it.
_CHUNK = 100


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """How many assets were indexed, and how many words nothing holds any more."""

    assets: int
    terms: int


async def index_chunk(session: AsyncSession, after: int) -> tuple[int, int | None]:
    """Index the next assets after a row id, and forget what else is indexed there.

    Returns how many those were and the last one's id, None at the end.
    """
    chunk = select(Asset).where(Asset.id > after).order_by(Asset.id).limit(_CHUNK)
    # Locked, so that nobody changes one between its being read and its being indexed.
    assets = list(await session.scalars(chunk.with_for_update(read=True)))
    last = assets[-1].id if len(assets) == _CHUNK else None
    await index.remove_others(session, [asset.id for asset in assets], after=after, up_to=last)
    await found.tell(session, assets, prompts=True)
    return len(assets), last


async def rebuild(database: Database) -> Rebuilt:
    """Index every asset anew, a few at a time while others work, and forget what is no asset's."""
    count, after = 0, 0
    while True:
        async with database.write() as session:
            indexed, last = await index_chunk(session, after)
        count += indexed
        if last is None:
            return Rebuilt(assets=count, terms=await clear_terms(database))
        after = last
