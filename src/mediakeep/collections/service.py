"""Finding the collections that a caller names."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.collections.models import Campaign, Client, Persona, Project
from mediakeep.errors import NotFound

#: By the name of the asset's column: the table, what people call it, and the column that clients know it by.
_KINDS: dict[str, tuple[Any, str, Any]] = {
    "client_id": (Client, "Client", Client.public_id),
    "campaign_id": (Campaign, "Campaign", Campaign.public_id),
    "persona_id": (Persona, "Persona", Persona.id),
    "project_id": (Project, "Project", Project.public_id),
}


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """Where an asset belongs, by the ids that clients know; None where it belongs to no such collection."""

    client_id: str | None = None
    campaign_id: str | None = None
    persona_id: str | None = None
    project_id: str | None = None


async def resolve(session: AsyncSession, owner_id: int, belonging: Belonging) -> dict[str, int | None]:
    """The row ids of an owner's collections, by the asset's column; each row stays locked until the commit.

    Raises `NotFound` ("Client not found") for one that is not there, is being deleted or is somebody else's.
    """
    found: dict[str, int | None] = {}
    for column, given in vars(belonging).items():
        if given is not None:
            found[column] = await _resolve(session, owner_id, column, given)
    return found


async def find_row_id(session: AsyncSession, owner_id: int | None, column: str, given: str) -> int | None:
    """As `resolve` for one collection (anybody's without an owner), but None where there is none, and no lock."""
    found: int | None = await session.scalar(_select(owner_id, column, given))
    return found


async def _resolve(session: AsyncSession, owner_id: int, column: str, given: str) -> int:
    table, kind, _ = _KINDS[column]
    # Deleting a collection marks its row; sharing a lock with other uploads keeps that from happening meanwhile.
    statement = _select(owner_id, column, given).with_for_update(read=True, key_share=True, of=table)
    found: int | None = (await session.execute(statement)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"{kind} not found")
    return found


def _select(owner_id: int | None, column: str, given: str) -> Any:
    table, _, public = _KINDS[column]
    statement = select(table.id).where(public == _value(column, given), table.gone_at.is_(None))
    return statement if owner_id is None else statement.where(table.owner_id == owner_id)


def _value(column: str, given: str) -> str | int:
    """The id as its column has it; one that cannot be an id at all is one that nothing has."""
    if column == "persona_id":
        return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else -1
    try:
        return str(uuid.UUID(given))
    except ValueError:
        return ""
