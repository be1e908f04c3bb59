"""Renaming tags across a project."""

from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import collections
from mediakeep.accounts.actor import Actor
from mediakeep.assets import counters, found, service
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.text import check_tags, fold
from mediakeep.db import insert_into, now_plus
from mediakeep.errors import InvalidInput
from mediakeep.tasks import enqueue

#: Assets that one transaction changes; under SQLite's one writer everybody else waits for it.
CHUNK = 500


async def rename_tag(session: AsyncSession, actor: Actor, project_public_id: str, old: str, new: str) -> int:
    """Rename a tag on all assets of one of the actor's projects; returns how many assets that changes.

    An asset that has both has one from then on, in the new spelling. Two tags that differ only in case are one. Beyond
    `CHUNK` assets the others follow by a task. Raises `NotFound` for the project, `InvalidInput` for the new name.
    """
    names = check_tags([new])
    if not names:
        raise InvalidInput("A tag must not be empty.", field="name")
    project_id = await collections.service.lock_row_id(
        session, actor.user_id, "project_id", project_public_id
    )
    renaming = {"project_id": project_id, "old": fold(old.strip()), "new": names[0]}
    changed, after = await rename_some(session, renaming, after=0)
    if after is None:
        return changed
    await enqueue(session, "assets.rename_tag", {**renaming, "after": after})
    others = select(func.count()).select_from(Asset).where(*_has_tag(renaming), Asset.id > after)
    return changed + (await session.scalar(others) or 0)


async def rename_some(
    session: AsyncSession, renaming: dict[str, Any], *, after: int
) -> tuple[int, int | None]:
    """Rename on the next `CHUNK` assets: how many have changed, and after which id to go on, unless it is done."""
    chunk = select(Asset).where(*_has_tag(renaming), Asset.id > after).order_by(Asset.id).limit(CHUNK)
    tagged = list(await session.scalars(chunk.with_for_update(of=Asset)))
    changed = [asset for asset in tagged if _renamed(asset.tags, renaming) != asset.tags]
    if changed:
        before = await counters.weigh(session, changed)
        for asset in changed:
            asset.tags = _renamed(asset.tags, renaming)
            asset.updated_at = now_plus()
        await session.flush()
        await _link(session, changed, renaming)
        counters.note(session, before=before, after=await counters.weigh(session, changed))
        await found.tell(session, changed)
        for asset in changed:
            await service.record(session, "asset.updated", asset)
    return len(changed), tagged[-1].id if len(tagged) == CHUNK else None


def _has_tag(renaming: dict[str, Any]) -> list[ColumnElement[bool]]:
    tagged = select(AssetTag.asset_id).join(Tag, Tag.id == AssetTag.tag_id)
    tagged = tagged.where(Tag.folded == renaming["old"], Tag.owner_id == Asset.owner_id)
    return [Asset.project_id == renaming["project_id"], Asset.id.in_(tagged)]


def _renamed(tags: list[str], renaming: dict[str, Any]) -> list[str]:
    new = renaming["new"]
    kept = {fold(tag): tag for tag in tags}
    renamed = {fold(new) if folded == renaming["old"] else folded: tag for folded, tag in kept.items()}
    return [new if folded == fold(new) else tag for folded, tag in renamed.items()]


async def _link(session: AsyncSession, assets: list[Asset], renaming: dict[str, Any]) -> None:
    old, new = renaming["old"], renaming["new"]
    if old == fold(new):
        return
    owner_id, ids = assets[0].owner_id, [asset.id for asset in assets]
    [tag_id] = await service.lock_tags(session, owner_id, {fold(new): new})
    links = insert_into(session, AssetTag).values([{"tag_id": tag_id, "asset_id": id_} for id_ in ids])
    await session.execute(links.on_conflict_do_nothing())
    renamed = select(Tag.id).where(Tag.owner_id == owner_id, Tag.folded == old).scalar_subquery()
    await session.execute(delete(AssetTag).where(AssetTag.tag_id == renamed, AssetTag.asset_id.in_(ids)))
