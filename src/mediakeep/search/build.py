"""The full-text index made from the assets: of a library that had none, and anew where it may have gone wrong."""

from dataclasses import dataclass
from functools import partial

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.assets import found
from mediakeep.assets.models import Asset
from mediakeep.db import Database
from mediakeep.index.models import SearchDocument
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
    await _remove_strays(session, after=after, up_to=last)
    await found.tell(session, assets, prompts=True)
    return len(assets), last


async def _remove_strays(session: AsyncSession, *, after: int, up_to: int | None) -> None:
    """Forget what is indexed from `after` (not itself) up to `up_to` (to the end without it), and no asset's.

    One statement sees an asset and what it is found by, or neither: not so the chunk that was selected before.
    """
    stray = [SearchDocument.asset_id > after, ~exists().where(Asset.id == SearchDocument.asset_id)]
    if up_to is not None:
        stray.append(SearchDocument.asset_id <= up_to)
    options = {"synchronize_session": False}
    await session.execute(delete(SearchDocument).where(*stray), execution_options=options)


async def rebuild(database: Database) -> Rebuilt:
    """Index every asset anew, a few at a time while others work, and forget what is no asset's."""
    count, after = 0, 0
    while True:
        indexed, last = await database.transact(partial(index_chunk, after=after))
        count += indexed
        if last is None:
            return Rebuilt(assets=count, terms=await clear_terms(database))
        after = last
