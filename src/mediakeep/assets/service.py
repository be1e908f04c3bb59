"""The verbs of assets."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import collections, events, files, index
from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.service import lock_user
from mediakeep.assets import counters, found
from mediakeep.assets.models import Asset, AssetTag, Generation, Tag
from mediakeep.assets.queries import not_gone
from mediakeep.assets.text import fold
from mediakeep.collections.service import Belonging
from mediakeep.db import insert_into, now_plus
from mediakeep.db.base import as_public_id, table_of
from mediakeep.errors import Conflict, NotFound, PermissionDenied
from mediakeep.files.ingest import RecordedFile

NOT_FOUND = "Asset not found"


@dataclass(frozen=True, kw_only=True)
class NewAsset:
    """What is said of an asset that is to be; the file is what the bytes say."""

    type: str
    name: str
    file_name: str
    visibility: str
    tags: list[str] = field(default_factory=list)
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    belonging: Belonging = field(default_factory=Belonging)


# Made once: building a statement costs more than running it.
_INSERT = insert(table_of(Asset)).returning(table_of(Asset).c.id)


async def create(session: AsyncSession, actor: Actor, new: NewAsset, *, file: RecordedFile) -> int:
    """A new asset with this file; returns its row id. Raises `NotFound` for a collection that is not the actor's.

    `NotAuthenticated` where the actor was deleted while the file was on its way.
    """
    return await _add(session, actor, new, file)


async def create_empty(
    session: AsyncSession,
    actor: Actor,
    project_public_id: str,
    *,
    name: str,
    description: str,
    tags: list[str],
    metadata: dict[str, Any],
    visibility: str,
) -> int:
    """A new image asset whose images are yet to be generated; returns its row id. Raises `NotFound` for the project."""
    new = NewAsset(
        type="image",
        name=name,
        file_name="",
        visibility=visibility,
        tags=tags,
        description=description,
        metadata=metadata,
        belonging=Belonging(project_id=project_public_id),
    )
    return await _add(session, actor, new, None)


async def _add(session: AsyncSession, actor: Actor, new: NewAsset, file: RecordedFile | None) -> int:
    await lock_user(session, actor.user_id)
    owned = await collections.service.resolve(session, actor.user_id, new.belonging)
    public_id = str(uuid.uuid4())
    values = {
        "public_id": public_id,
        "owner_id": actor.user_id,
        "file_id": file.id if file else None,
        "own_file_id": file.id if file else None,
        "type": new.type,
        "name": new.name,
        "file_name": new.file_name,
        "description": new.description,
        "folded": _folded(new.name, new.description),
        "tags": new.tags,
        "metadata": new.metadata,
        "visibility": new.visibility,
        "size": file.size if file else 0,
        "client_id": owned.get("client_id"),
        "campaign_id": owned.get("campaign_id"),
        "persona_id": owned.get("persona_id"),
        "project_id": owned.get("project_id"),
    }
    asset_id: int = (await session.execute(_INSERT, values)).scalar_one()
    if new.tags:
        await _set_tags(session, actor.user_id, asset_id, new.tags)
    added = counters.of_asset(
        owned.get("project_id"), new.tags, file.size if file else None, is_image=new.type == "image"
    )
    added.add_all(
        counters.of_owner(
            actor.user_id,
            type=new.type,
            file_id=file.id if file else None,
            size=file.size if file else 0,
            tags=new.tags,
            belonging=owned,
        )
    )
    counters.note(session, after=added)
    document = index.Document(
        asset_id=asset_id,
        owner_id=actor.user_id,
        project_id=owned.get("project_id") if new.type == "image" else None,
        name=new.name,
        description=new.description,
        tags=new.tags,
        prompts="",
    )
    await index.put(session, document)
    data = {"type": new.type, "name": new.name}
    await events.record(session, "asset.created", owner_id=actor.user_id, subject=public_id, data=data)
    return asset_id


async def update(session: AsyncSession, actor: Actor, public_id: str, changes: dict[str, Any]) -> Asset:
    """Change what `changes` names: columns of the asset, `tags`, and collections by their public ids.

    Raises `NotFound` for an asset or a collection that is not the actor's, `Conflict` for taking one with generations,
    which only projects show, out of its project.
    """
    asset = await _get_for_change(session, public_id)
    if asset.owner_id != actor.user_id:
        raise NotFound(NOT_FOUND)
    if asset.generation_count and changes.get("project_id", "") is None:
        raise Conflict(
            "An asset with generations needs a project: move it to another one, or delete them first."
        )
    given = {name: changes[name] for name in vars(Belonging()) if name in changes}
    owned = await collections.service.resolve(session, actor.user_id, Belonging(**given))
    columns = {name: value for name, value in changes.items() if name not in given}
    before = await counters.weigh(session, [asset])
    for name, value in {**columns, **dict.fromkeys(given), **owned}.items():
        setattr(asset, name, value)
    asset.folded = _folded(asset.name, asset.description)
    asset.updated_at = now_plus()
    if "tags" in changes:
        await _set_tags(session, asset.owner_id, asset.id, changes["tags"])
    await session.flush()
    counters.note(session, before=before, after=await counters.weigh(session, [asset]))
    await found.tell(session, [asset])
    await record(session, "asset.updated", asset)
    return asset


async def require_file(session: AsyncSession, public_id: str) -> None:
    """Raises `NotFound` for an image asset of a project that has no image yet: other surfaces do not know it."""
    has_file = select(Asset.id).where(Asset.public_id == as_public_id(public_id), Asset.file_id.is_not(None))
    if await session.scalar(has_file) is None:
        raise NotFound(NOT_FOUND)


async def remove(session: AsyncSession, actor: Actor, public_id: str) -> None:
    """Delete an asset, and its file unless another asset shares it.

    Raises `NotFound`, or `PermissionDenied` for somebody else's, which is what this call's clients expect.
    """
    asset = await _get_for_change(session, public_id)
    if asset.owner_id != actor.user_id and not actor.is_admin:
        raise PermissionDenied("You don't have permission to delete this asset")
    await remove_all(session, [asset])
    if asset.owner_id != actor.user_id:
        await audit.record(
            session, actor, "asset.deleted_by_admin", user_id=asset.owner_id, subject=asset.public_id
        )


async def remove_all(session: AsyncSession, assets: Sequence[Asset]) -> None:
    """Delete assets that the caller has locked, with their generations, and the files that only they had."""
    before = await counters.weigh(session, assets)
    used = await _files_of(session, assets)
    await session.execute(delete(Asset).where(Asset.id.in_([asset.id for asset in assets])))
    await index.remove(session, [asset.id for asset in assets])
    await files.service.release(session, used)
    counters.note(session, before=before)
    for asset in assets:
        await record(session, "asset.deleted", asset)


async def clear_tags(session: AsyncSession, tag_ids: Sequence[int]) -> None:
    """Delete those of the tags that no asset has and that nobody is about to use."""
    free = select(Tag.id).where(Tag.id.in_(tag_ids)).with_for_update(skip_locked=True)
    locked = list(await session.scalars(free))
    # Only a statement that begins after the rows were locked sees every asset that has got the tag meanwhile.
    await session.execute(delete(Tag).where(Tag.id.in_(locked), unused_tag()))


def unused_tag() -> ColumnElement[bool]:
    return ~exists().where(AssetTag.tag_id == Tag.id)


async def _files_of(session: AsyncSession, assets: Sequence[Asset]) -> set[int]:
    used = {file_id for asset in assets for file_id in (asset.file_id, asset.own_file_id)}
    with_generations = [asset.id for asset in assets if asset.generation_count]
    if with_generations:
        made = select(Generation.file_id).where(Generation.asset_id.in_(with_generations))
        used |= set(await session.scalars(made))
    return {file_id for file_id in used if file_id is not None}


async def _get_for_change(session: AsyncSession, public_id: str) -> Asset:
    statement = (
        select(Asset).where(Asset.public_id == as_public_id(public_id), not_gone()).with_for_update(of=Asset)
    )
    asset = await session.scalar(statement)
    if asset is None:
        raise NotFound(NOT_FOUND)
    return asset


def _folded(name: str, description: str) -> str:
    return fold(f"{name}\n{description}")


async def _set_tags(session: AsyncSession, owner_id: int, asset_id: int, names: list[str]) -> None:
    await session.execute(delete(AssetTag).where(AssetTag.asset_id == asset_id))
    if not names:
        return
    tag_ids = await lock_tags(session, owner_id, {fold(name): name for name in names})
    await session.execute(insert(AssetTag), [{"tag_id": id_, "asset_id": asset_id} for id_ in tag_ids])


async def lock_tags(session: AsyncSession, owner_id: int, by_folded: dict[str, str]) -> list[int]:
    """The ids of these tags, made where missing, none of which can be cleared away until the commit.

    Whoever makes the same ones waits for that. So what changes several assets calls this once before, with all of their
    tags: those that are made one after the other are made in no order.
    """
    there = select(Tag.id, Tag.folded).where(Tag.owner_id == owner_id, Tag.folded.in_(by_folded))
    # PostgreSQL's KEY SHARE: shared among all who use a tag, refused to whoever clears it away.
    locked = (await session.execute(there.with_for_update(read=True, key_share=True))).all()
    missing = sorted(by_folded.keys() - {row.folded for row in locked})
    ids = [row.id for row in locked]
    return ids + await _add_tags(session, owner_id, {folded: by_folded[folded] for folded in missing})


async def _add_tags(session: AsyncSession, owner_id: int, by_folded: dict[str, str]) -> list[int]:
    """Add tags in the order given, which is one for all, so that two writers cannot deadlock."""
    if not by_folded:
        return []
    rows = [{"owner_id": owner_id, "name": name, "folded": folded} for folded, name in by_folded.items()]
    adding = insert_into(session, Tag).values(rows)
    # An update that changes nothing locks and returns what somebody else has just added.
    adding = adding.on_conflict_do_update(index_elements=[Tag.owner_id, Tag.folded], set_={"name": Tag.name})
    return list(await session.scalars(adding.returning(Tag.id)))


async def record(session: AsyncSession, kind: str, asset: Asset) -> None:
    """Note that this happened to the asset."""
    data = {"type": asset.type, "name": asset.name}
    await events.record(session, kind, owner_id=asset.owner_id, subject=asset.public_id, data=data)
