"""The verbs of collections, which are one for all kinds: what differs is in `KINDS`."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import events
from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import gone_users
from mediakeep.accounts.service import lock_user
from mediakeep.collections.models import Campaign, Client, Persona, Project
from mediakeep.db import now_plus
from mediakeep.db.base import as_public_id
from mediakeep.errors import NotFound
from mediakeep.tasks import enqueue

#: A kind of collection, named by the column with which assets refer to it.
KindName = Literal["client_id", "campaign_id", "persona_id", "project_id"]

AnyCollection = Client | Campaign | Persona | Project


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of collection: its table, the id that clients know, and what people call one."""

    table: Any  # one of the four models, which share their columns
    public_id: Any
    label: str

    @property
    def event(self) -> str:
        return self.label.lower()


KINDS: Final[dict[KindName, Kind]] = {
    "client_id": Kind(table=Client, public_id=Client.public_id, label="Client"),
    "campaign_id": Kind(table=Campaign, public_id=Campaign.public_id, label="Campaign"),
    "persona_id": Kind(table=Persona, public_id=Persona.id, label="Persona"),
    "project_id": Kind(table=Project, public_id=Project.public_id, label="Project"),
}


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """Where an asset belongs, by the ids that clients know; None where it belongs to no such collection."""

    client_id: str | None = None
    campaign_id: str | None = None
    persona_id: str | None = None
    project_id: str | None = None


async def create(
    session: AsyncSession, actor: Actor, kind: KindName, columns: dict[str, Any]
) -> AnyCollection:
    """A new collection of the actor's. `columns` are its own ones, beside owner and ids."""
    await lock_user(session, actor.user_id)
    given = columns if kind == "persona_id" else {**columns, "public_id": str(uuid.uuid4())}
    collection: AnyCollection = KINDS[kind].table(owner_id=actor.user_id, **given)
    session.add(collection)
    await session.flush()
    await _record(session, kind, "created", collection)
    return collection


async def get(
    session: AsyncSession, actor: Actor, kind: KindName, given: str, *, for_change: bool = False
) -> AnyCollection:
    """One of the actor's collections; an admin may read anybody's. Raises `NotFound` ("Client not found")."""
    owner_id = None if actor.is_admin and not for_change else actor.user_id
    statement = _select(KINDS[kind].table, owner_id, kind, given)
    found: AnyCollection | None = await session.scalar(
        statement.with_for_update() if for_change else statement
    )
    if found is None:
        raise NotFound(f"{KINDS[kind].label} not found")
    return found


async def list_page(
    session: AsyncSession,
    actor: Actor,
    kind: KindName,
    *conditions: ColumnElement[bool],
    limit: int,
    offset: int,
    everyones: bool = False,
) -> tuple[list[AnyCollection], int]:
    """A page of collections, newest first, and how many there are in all."""
    table = KINDS[kind].table
    narrowed = [_is_there(table), *conditions]
    if everyones:
        actor.require("admin")
    else:
        narrowed.append(table.owner_id == actor.user_id)
    total = await session.scalar(select(func.count()).select_from(table).where(*narrowed)) or 0
    newest = select(table).where(*narrowed).order_by(table.created_at.desc(), table.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total


async def change(
    session: AsyncSession, actor: Actor, kind: KindName, given: str, columns: dict[str, Any]
) -> AnyCollection:
    """Change a collection's own columns. Raises `NotFound`."""
    collection = await get(session, actor, kind, given, for_change=True)
    for name, value in {**columns, "updated_at": now_plus()}.items():
        setattr(collection, name, value)
    await session.flush()
    await session.refresh(collection)
    await _record(session, kind, "updated", collection)
    return collection


async def remove(session: AsyncSession, actor: Actor, kind: KindName, given: str) -> None:
    """Delete a collection with everything that belongs to it. Raises `NotFound`.

    It is gone for readers with this commit; a task removes its assets in small transactions, and its row last.
    """
    if actor.is_admin:
        collection = await session.scalar(_select(KINDS[kind].table, None, kind, given).with_for_update())
    else:
        collection = await get(session, actor, kind, given, for_change=True)
    if collection is None:
        raise NotFound(f"{KINDS[kind].label} not found")
    await mark_gone(session, kind, collection.id)
    await _record(session, kind, "deleted", collection)
    if collection.owner_id != actor.user_id:
        await audit.record(
            session,
            actor,
            "collection.deleted_by_admin",
            user_id=collection.owner_id,
            subject=_subject(collection),
            kind=KINDS[kind].event,
        )


async def mark_gone(session: AsyncSession, kind: KindName, row_id: int) -> None:
    """Hide a collection, and the campaigns of a client with it, and have a task remove them."""
    table = KINDS[kind].table
    await session.execute(update(table).where(table.id == row_id).values(gone_at=now_plus()))
    if kind == "client_id":
        campaigns = update(Campaign).where(Campaign.client_id == row_id, Campaign.gone_at.is_(None))
        await session.execute(campaigns.values(gone_at=now_plus()))
    await enqueue(session, "assets.remove_collection", {"kind": kind, "id": row_id})


async def delete_row(session: AsyncSession, kind: KindName, row_id: int) -> None:
    """Delete a collection that is gone and empty; with a client, its campaigns."""
    if kind == "client_id":
        await session.execute(delete(Campaign).where(Campaign.client_id == row_id))
    table = KINDS[kind].table
    await session.execute(delete(table).where(table.id == row_id))


async def delete_rows_of(session: AsyncSession, owner_id: int) -> None:
    """Delete all collections of an owner who is gone, when no asset belongs to them any more."""
    for table in (Campaign, Client, Persona, Project):  # campaigns refer to clients
        await session.execute(delete(table).where(table.owner_id == owner_id))


async def resolve(session: AsyncSession, owner_id: int, belonging: Belonging) -> dict[str, int]:
    """The row ids of an owner's collections, by the asset's column; each row stays locked until the commit.

    Raises `NotFound` ("Client not found") for one that is not there, is being deleted or is somebody else's.
    """
    found: dict[str, int] = {}
    for kind in KINDS:
        given = getattr(belonging, kind)
        if given is not None:
            found[kind] = await lock_row_id(session, owner_id, kind, given)
    return found


async def lock_row_id(session: AsyncSession, owner_id: int, kind: KindName, given: str) -> int:
    """One of an owner's collections by the id that clients know; kept from being deleted until the commit."""
    table = KINDS[kind].table
    # Deleting a collection marks its row; uploads share a lock that keeps that from happening meanwhile.
    statement = _select(table.id, owner_id, kind, given).with_for_update(read=True, of=table)
    found: int | None = await session.scalar(statement)
    if found is None:
        raise NotFound(f"{KINDS[kind].label} not found")
    return found


async def find_row_id(session: AsyncSession, owner_id: int | None, kind: KindName, given: str) -> int | None:
    """As `lock_row_id` (anybody's without an owner), but None where there is none, and no lock."""
    found: int | None = await session.scalar(_select(KINDS[kind].table.id, owner_id, kind, given))
    return found


async def public_ids(
    session: AsyncSession, kind: KindName, row_ids: Iterable[int | None]
) -> dict[int | None, str]:
    """The ids that clients know, by row id."""
    table = KINDS[kind].table
    wanted = [one for one in row_ids if one is not None]
    rows = await session.execute(select(table.id, KINDS[kind].public_id).where(table.id.in_(wanted)))
    return {row_id: str(public_id) for row_id, public_id in rows}


def _select(what: Any, owner_id: int | None, kind: KindName, given: str) -> Select[Any]:
    table = KINDS[kind].table
    statement = select(what).where(KINDS[kind].public_id == as_row_value(kind, given), _is_there(table))
    return statement if owner_id is None else statement.where(table.owner_id == owner_id)


def _is_there(table: Any) -> ColumnElement[bool]:
    """Leaves out what is being deleted, by itself or with its owner."""
    there: ColumnElement[bool] = table.gone_at.is_(None) & table.owner_id.not_in(gone_users())
    return there


def as_row_value(kind: str, given: str) -> str | int:
    """The id as its column has it; what cannot be an id at all is one that nothing has."""
    if kind == "persona_id":
        return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else -1
    return as_public_id(given)


async def _record(session: AsyncSession, kind: KindName, verb: str, collection: AnyCollection) -> None:
    name, data = f"{KINDS[kind].event}.{verb}", {"name": collection.name}
    await events.record(session, name, owner_id=collection.owner_id, subject=_subject(collection), data=data)


def _subject(collection: AnyCollection) -> str:
    return str(collection.id if isinstance(collection, Persona) else collection.public_id)
