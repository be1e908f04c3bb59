"""The verbs of assets."""

import uuid
from collections.abc import Mapping, Sequence
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
_INSERT = insert(table_of(Asset)).returning(table_of(Asset).c.id, table_of(Asset).c.public_id)
_INSERT_LINK = insert(table_of(AssetTag))


async def create(session: AsyncSession, actor: Actor, new: NewAsset, *, file: RecordedFile) -> int:
    """A new asset with this file; returns its row id. Raises `NotFound` for a collection that is not the actor's.

    `NotAuthenticated` where the actor was deleted while the file was on its way.
    """
    [asset_id] = await _add(session, actor, [new], file)
    return asset_id


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
    said = {"name": name, "description": description, "tags": tags, "metadata": metadata}
    [asset_id] = await create_all_empty(session, actor, project_public_id, [said], visibility=visibility)
    return asset_id


async def create_all_empty(
    session: AsyncSession,
    actor: Actor,
    project_public_id: str,
    items: Sequence[Mapping[str, Any]],
    *,
    visibility: str,
) -> list[int]:
    """As `create_empty` with the name, description, tags and metadata of each item; their row ids in that order.

    A tag that is not there yet gets the spelling that comes first.
    """
    belonging = Belonging(project_id=project_public_id)
    all_new = [
        NewAsset(type="image", file_name="", visibility=visibility, belonging=belonging, **item)
        for item in items
    ]
    return await _add(session, actor, all_new, None)


async def _add(
    session: AsyncSession, actor: Actor, all_new: Sequence[NewAsset], file: RecordedFile | None
) -> list[int]:
    """Add assets that belong to the same collections; their row ids in that order."""
    await lock_user(session, actor.user_id)
    owned = await collections.service.resolve(session, actor.user_id, all_new[0].belonging)
    rows = [_as_row(actor, new, file, owned) for new in all_new]
    added = {row.public_id: row.id for row in await session.execute(_INSERT, rows)}
    by_id = {added[row["public_id"]]: new for row, new in zip(rows, all_new, strict=True)}
    await _link_tags(session, actor.user_id, {asset_id: new.tags for asset_id, new in by_id.items()})
    _count(session, actor, all_new, file, owned)
    await index.put_all(session, [_as_document(actor, id_, new, owned) for id_, new in by_id.items()])
    data = {row["public_id"]: {"type": row["type"], "name": row["name"]} for row in rows}
    await events.record_all(session, "asset.created", owner_id=actor.user_id, data=data)
    return list(by_id)


def _as_row(
    actor: Actor, new: NewAsset, file: RecordedFile | None, owned: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "public_id": str(uuid.uuid4()),
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


def _count(
    session: AsyncSession,
    actor: Actor,
    all_new: Sequence[NewAsset],
    file: RecordedFile | None,
    owned: Mapping[str, int],
) -> None:
    added = counters.Counts()
    for new in all_new:
        is_image = new.type == "image"
        own_size = file.size if file else None
        added.add_all(counters.of_asset(owned.get("project_id"), new.tags, own_size, is_image=is_image))
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


def _as_document(actor: Actor, asset_id: int, new: NewAsset, owned: Mapping[str, int]) -> index.Document:
    return index.Document(
        asset_id=asset_id,
        owner_id=actor.user_id,
        project_id=owned.get("project_id") if new.type == "image" else None,
        name=new.name,
        description=new.description,
        tags=new.tags,
        prompts="",
    )


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
        await _set_tags(session, asset.owner_id, {asset.id: changes["tags"]})
    await session.flush()
    counters.note(session, before=before, after=await counters.weigh(session, [asset]))
    await found.tell(session, [asset])
    await record(session, "asset.updated", asset)
    return asset


async def change_tags(
    session: AsyncSession, actor: Actor, changes: Sequence[tuple[Asset, list[str]]]
) -> None:
    """Give assets of the actor's, which the caller has locked, these tags instead of theirs."""
    assets = [asset for asset, _ in changes]
    before = await counters.weigh(session, assets)
    # The value, not the function: with that each row would have to be changed by a statement of its own.
    now = (await session.execute(select(now_plus()))).scalar_one()
    for asset, tags in changes:
        asset.tags, asset.updated_at = tags, now
    await _set_tags(session, actor.user_id, {asset.id: tags for asset, tags in changes})
    await session.flush()
    counters.note(session, before=before, after=await counters.weigh(session, assets))
    await found.tell(session, assets)
    data = {asset.public_id: {"type": asset.type, "name": asset.name} for asset in assets}
    await events.record_all(session, "asset.updated", owner_id=actor.user_id, data=data)


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


async def _set_tags(session: AsyncSession, owner_id: int, names: Mapping[int, Sequence[str]]) -> None:
    """Link an owner's assets to the tags of these names, and to no others; `names` by the assets' row ids."""
    await session.execute(delete(AssetTag).where(AssetTag.asset_id.in_(names)))
    await _link_tags(session, owner_id, names)


async def _link_tags(session: AsyncSession, owner_id: int, names: Mapping[int, Sequence[str]]) -> None:
    """As `_set_tags`, of assets that have no tags yet."""
    by_folded = {asset_id: {fold(name): name for name in each} for asset_id, each in names.items()}
    spelt: dict[str, str] = {}
    for each in by_folded.values():
        for folded, name in each.items():
            spelt.setdefault(folded, name)
    if not spelt:
        return
    tag_ids = await lock_tags(session, owner_id, spelt)
    links = [
        {"tag_id": tag_ids[folded], "asset_id": asset_id}
        for asset_id, each in by_folded.items()
        for folded in each
    ]
    await session.execute(_INSERT_LINK, links)


async def lock_tags(session: AsyncSession, owner_id: int, by_folded: dict[str, str]) -> dict[str, int]:
    """The ids of these tags, made where missing, none of which can be cleared away until the commit.

    Whoever makes the same ones waits for that. So what changes several assets calls this once before, with all of their
    tags: those that are made one after the other are made in no order.
    """
    there = select(Tag.id, Tag.folded).where(Tag.owner_id == owner_id, Tag.folded.in_(by_folded))
    # PostgreSQL's KEY SHARE: shared among all who use a tag, refused to whoever clears it away.
    locked = (await session.execute(there.with_for_update(read=True, key_share=True))).all()
    missing = sorted(by_folded.keys() - {row.folded for row in locked})
    ids = {row.folded: row.id for row in locked}
    return ids | await _add_tags(session, owner_id, {folded: by_folded[folded] for folded in missing})


async def _add_tags(session: AsyncSession, owner_id: int, by_folded: dict[str, str]) -> dict[str, int]:
    """Add tags in the order given, which is one for all, so that two writers cannot deadlock."""
    if not by_folded:
        return {}
    rows = [{"owner_id": owner_id, "name": name, "folded": folded} for folded, name in by_folded.items()]
    adding = insert_into(session, Tag).values(rows)
    # An update that changes nothing locks and returns what somebody else has just added.
    adding = adding.on_conflict_do_update(index_elements=[Tag.owner_id, Tag.folded], set_={"name": Tag.name})
    added = await session.execute(adding.returning(Tag.id, Tag.folded))
    return {row.folded: row.id for row in added}


async def record(session: AsyncSession, kind: str, asset: Asset) -> None:
    """Note that this happened to the asset."""
    data = {"type": asset.type, "name": asset.name}
    await events.record(session, kind, owner_id=asset.owner_id, subject=asset.public_id, data=data)
