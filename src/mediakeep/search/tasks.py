"""Background work on the index."""

from functools import partial

from mediakeep.index.vocabulary import clear_terms
from mediakeep.library import Library
from mediakeep.search.build import index_chunk
from mediakeep.tasks import Again, Claimed, periodic, task


@task("search.build")
async def build(library: Library, claimed: Claimed) -> Again | None:
    """Index the assets of a library that had no index, which the migration asks for; what is not reached is not found."""
    work = partial(index_chunk, after=claimed.state.get("after", 0))
    _, last = await library.database.transact(work)
    return None if last is None else Again(0, {"after": last})


@periodic("search.clear_terms", every=lambda _: 24 * 3600)
async def clear_unused_terms(library: Library, _claimed: Claimed) -> None:
    """Forget words that no text holds any more."""
    await clear_terms(library.database)
