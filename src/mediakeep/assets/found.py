"""What assets are found by: the index is told by whoever changes one, in the same transaction."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Text, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import index
from mediakeep.assets.models import Asset, Generation

#: An asset is found by what its newest generations were asked for with.
_GENERATIONS = 50

_PROMPT_CHARACTERS = 10_000

#: Of all prompts together: the words that the index has room for, with some to spare.
_CHARACTERS = 40_000


async def tell(session: AsyncSession, assets: Iterable[Asset], *, prompts: bool = False) -> None:
    """Have assets be found by what they say now; by their generations' prompts as before, unless those are read, too."""
    documents = [
        index.Document(
            asset_id=asset.id,
            owner_id=asset.owner_id,
            project_id=asset.project_id if asset.type == "image" else None,
            name=asset.name,
            description=asset.description,
            tags=asset.tags,
            prompts=await _prompts(session, asset) if prompts else None,
        )
        for asset in assets
    ]
    await index.put_all(session, documents)


async def _prompts(session: AsyncSession, asset: Asset) -> str:
    """The different prompts of an asset's newest generations, a line each, as far as they count."""
    if not asset.generation_count:
        return ""
    prompt = func.substr(func.coalesce(_text("positive_prompt"), _text("prompt")), 1, _PROMPT_CHARACTERS)
    newest = select(prompt).where(Generation.asset_id == asset.id)
    newest = newest.order_by(Generation.created_at.desc(), Generation.id.desc()).limit(_GENERATIONS)
    different = dict.fromkeys(one for one in await session.scalars(newest) if one is not None)
    return "\n".join(different)[:_CHARACTERS]


def _text(name: str) -> ColumnElement[str | None]:
    """A parameter of a generation; NULL where it is no text, or none at all."""
    value = Generation.parameters[name]
    text = value.as_string()
    return case((cast(value, Text).startswith('"') & (text != ""), text))
