"""What assets are found by: the index is told by whoever changes one, in the same transaction."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import index
from mediakeep.assets.models import Asset, Generation

#: An asset is found by what its newest generations were asked for with.
_GENERATIONS = 50

_PROMPT_CHARACTERS = 10_000


async def tell(session: AsyncSession, assets: Iterable[Asset], *, prompts: bool = False) -> None:
    """Have assets be found by what they say now; by their generations' prompts as before, unless those are read, too."""
    documents = [
        index.Document(
            asset_id=asset.id,
            owner_id=asset.owner_id,
            project_id=asset.project_id,
            name=asset.name,
            description=asset.description,
            tags=asset.tags,
            prompts=await _prompts(session, asset) if prompts else None,
        )
        for asset in assets
    ]
    await index.put_all(session, documents)


async def _prompts(session: AsyncSession, asset: Asset) -> str:
    """The different prompts of an asset's newest generations, a line each."""
    if not asset.generation_count:
        return ""
    given = (Generation.parameters[name].as_string() for name in ("positive_prompt", "prompt"))
    prompt = func.substr(func.coalesce(*given), 1, _PROMPT_CHARACTERS)
    newest = select(prompt).where(Generation.asset_id == asset.id)
    newest = newest.order_by(Generation.created_at.desc(), Generation.id.desc()).limit(_GENERATIONS)
    return "\n".join(dict.fromkeys(str(one) for one in await session.scalars(newest) if one is not None))
