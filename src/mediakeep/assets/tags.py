"""Renaming tags across a project."""

from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import collections
from mediakeep.accounts.actor import Actor
from mediakeep.assets import counters, found, service
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.text import check_tags, fold
from mediakeep.collections.models import Project
from mediakeep.db import insert_into, now_plus
from mediakeep.errors import Conflict, InvalidInput
from mediakeep.tasks import enqueue, list_tasks

#: Assets that one transaction changes; under SQLite's one writer everybody else waits for it.
CHUNK = 100


async def rename_tag(session: AsyncSession, actor: Actor, project_public_id: str, old: str, new: str) -> int:
    """Rename a tag on all assets of one of the actor's projects; returns how many assets that changes.

    An asset that has both has one from then on, in the new spelling. Two tags that differ only in case are one. Beyond
    `CHUNK` assets the others follow by a task; until that is done, neither tag can be renamed again. Raises `NotFound` for
    the project, `InvalidInput` for the new name, `Conflict` while one of the tags is being renamed.
    """
    names = check_tags([new])
    if not names:
        raise InvalidInput("A tag must not be empty.", field="name")
    project_id = await collections.service.lock_row_id(
        session, actor.user_id, "project_id", project_public_id
    )
    renaming = {"project_id": project_id, "old": fold(old.strip()), "new": names[0]}
    await _take_turns(session, actor.user_id, renaming)
    changed, after = await rename_some(session, renaming, after=0)
    if after is None:
        return changed
    await enqueue(session, "assets.rename_tag", {**renaming, "after": after}, owner_id=actor.user_id)
    return changed + await _count_others(session, renaming, after=after)


async def rename_some(
    session: AsyncSession, renaming: dict[str, Any], *, after: int
) -> tuple[int, int | None]:
    """Rename on the next `CHUNK` assets: how many have changed, and after which id to go on, unless it is done."""
    old_id = await _find_old(session, renaming)
    if old_id is None:
        return 0, None
    chunk = select(Asset).join(AssetTag).where(*_has_tag(renaming, old_id, after=after))
    chunk = chunk.order_by(AssetTag.asset_id).limit(CHUNK)
    tagged = list(await session.scalars(chunk.with_for_update(of=Asset)))
    changed = [asset for asset in tagged if _renamed(asset.tags, renaming) != asset.tags]
    if changed:
        before = await counters.weigh(session, changed)
        for asset in changed:
            asset.tags = _renamed(asset.tags, renaming)
            asset.updated_at = now_plus()
        await session.flush()
        await _link(session, changed, renaming, old_id)
        counters.note(session, before=before, after=await counters.weigh(session, changed))
        await found.tell(session, changed)
        for asset in changed:
            await service.record(session, "asset.updated", asset)
    return len(changed), tagged[-1].id if len(tagged) == CHUNK else None


async def _take_turns(session: AsyncSession, owner_id: int, renaming: dict[str, Any]) -> None:
    """Wait for others that rename one of the two tags. Raises `Conflict` while a task goes on with that.

    Two renames of one tag at the same time follow each other from asset to asset, and each of them ends half-way.
    """
    touched = {renaming["old"], fold(renaming["new"])}
    both = select(Tag.id).where(Tag.owner_id == owner_id, Tag.folded.in_(touched)).order_by(Tag.folded)
    # PostgreSQL's NO KEY UPDATE: one rename at a time has it, and whoever gives an asset the tag need not wait.
    await session.execute(both.with_for_update(key_share=True))
    for task in await list_tasks(session, statuses=("queued",), names=("assets.rename_tag",)):
        other = task.payload
        if other["project_id"] == renaming["project_id"] and touched & {other["old"], fold(other["new"])}:
            raise Conflict("This tag is still being renamed. Try again in a moment.")


async def _find_old(session: AsyncSession, renaming: dict[str, Any]) -> int | None:
    """The row of the tag that is renamed, which belongs to the project's owner."""
    tag = select(Tag.id).join(Project, Project.owner_id == Tag.owner_id)
    tag = tag.where(Project.id == renaming["project_id"], Tag.folded == renaming["old"])
    found_id: int | None = await session.scalar(tag)
    return found_id


async def _count_others(session: AsyncSession, renaming: dict[str, Any], *, after: int) -> int:
    old_id = await _find_old(session, renaming)
    others = select(func.count()).select_from(Asset).join(AssetTag)
    return await session.scalar(others.where(*_has_tag(renaming, old_id, after=after))) or 0


def _has_tag(renaming: dict[str, Any], old_id: int | None, *, after: int) -> list[ColumnElement[bool]]:
    """By the tag's row: whoever looks for its name instead asks again for each asset, while nobody else can write."""
    return [
        AssetTag.tag_id == old_id,
        AssetTag.asset_id > after,
        Asset.project_id == renaming["project_id"],
    ]


def _renamed(tags: list[str], renaming: dict[str, Any]) -> list[str]:
    new = renaming["new"]
    kept = {fold(tag): tag for tag in tags}
    renamed = {fold(new) if folded == renaming["old"] else folded: tag for folded, tag in kept.items()}
    return [new if folded == fold(new) else tag for folded, tag in renamed.items()]


async def _link(session: AsyncSession, assets: list[Asset], renaming: dict[str, Any], old_id: int) -> None:
    new = renaming["new"]
    if renaming["old"] == fold(new):
        return
    owner_id, ids = assets[0].owner_id, [asset.id for asset in assets]
    tag_id = (await service.lock_tags(session, owner_id, {fold(new): new}))[fold(new)]
    links = insert_into(session, AssetTag).values([{"tag_id": tag_id, "asset_id": id_} for id_ in ids])
    await session.execute(links.on_conflict_do_nothing())
    await session.execute(delete(AssetTag).where(AssetTag.tag_id == old_id, AssetTag.asset_id.in_(ids)))
