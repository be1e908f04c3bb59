"""The verbs of generations: the versions of an image asset that models made, or are making.

Whoever changes one locks its asset's row first, since the asset shows one of them: the favourite, else the first that
was completed, else the file that it was uploaded with.
"""

import re
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import events, files
from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.assets import counters, found, image_assets
from mediakeep.assets.metadata import check_metadata
from mediakeep.assets.models import STATUSES, Asset, Generation, Status
from mediakeep.assets.queries import not_gone
from mediakeep.db import Database, now_plus
from mediakeep.db.base import as_public_id
from mediakeep.errors import BadRequest, Conflict, InvalidInput, NotFound
from mediakeep.files.ingest import RecordedFile
from mediakeep.files.models import File

NOT_FOUND = "Generation not found"
ASSET_NOT_FOUND = "Asset not found"

#: Generations that are read at a time where all are wanted: with their parameters and metadata they may be large.
CHUNK = 20

_ENDED: Final = frozenset({"completed", "failed", "cancelled"})

_MODEL_CHARACTERS = 255

#: What `_select` finds of a generation.
_Row = Row[*tuple[Any, ...]]

#: What can be a storage key at all.
_KEY = re.compile(r"[!-~]{1,80}")


@dataclass(frozen=True, kw_only=True)
class ShownGeneration:
    """A generation as its readers see it; `key` and `format` are "" and the numbers 0 while there is no image."""

    public_id: str
    asset_public_id: str
    status: Status
    is_favorite: bool
    parameters: dict[str, Any]
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    key: str
    size: int
    width: int
    height: int
    format: str
    #: Whether its asset is: anybody who has the address may have the image.
    is_public: bool


async def create(
    session: AsyncSession,
    actor: Actor,
    asset_public_id: str,
    *,
    parameters: dict[str, Any],
    status: Status = "pending",
    metadata: dict[str, Any] | None = None,
) -> ShownGeneration:
    """A new generation of an image asset of the actor's. Raises `NotFound`, `InvalidInput`, `Conflict`."""
    parameters = check_metadata(parameters, field="parameters")
    metadata = check_metadata(metadata or {})
    of_project = image_assets.of_project(asset_public_id)
    asset = await _lock_asset(session, *of_project, Asset.owner_id == actor.user_id)
    if asset is None:
        raise NotFound(ASSET_NOT_FOUND)
    _check_move("pending", status, has_image=False)
    model = parameters.get("model")
    generation = Generation(
        public_id=str(uuid.uuid4()),
        asset_id=asset.id,
        status=status,
        parameters=parameters,
        metadata_=metadata,
        model=model[:_MODEL_CHARACTERS] if isinstance(model, str) else "",
    )
    session.add(generation)
    before = counters.of_generated(asset)
    asset.generation_count += 1
    asset.updated_at = now_plus()
    await session.flush()
    row = await _read(session, generation.id)
    counters.note(session, before=before, after=_counts(asset, row).add_all(counters.of_generated(asset)))
    await found.tell(session, [asset], prompts=True)
    await _record(session, "generation.created", asset, row)
    return _shown(row)


async def get(session: AsyncSession, actor: Actor, public_id: str) -> ShownGeneration:
    """One of the actor's generations; an admin may read anybody's. Raises `NotFound`."""
    asked = _select().where(Generation.public_id == as_public_id(public_id), not_gone(), *_readable(actor))
    row = (await session.execute(asked)).one_or_none()
    if row is None:
        raise NotFound(NOT_FOUND)
    return _shown(row)


async def list_page(
    session: AsyncSession,
    actor: Actor,
    asset_public_id: str,
    *,
    limit: int,
    offset: int,
    status: Status | None = None,
    is_favorite: bool | None = None,
) -> tuple[list[ShownGeneration], int]:
    """An asset's generations, newest first, and how many there are in all. Raises `NotFound`."""
    asset = select(Asset.id).where(*image_assets.of_project(asset_public_id), *_readable(actor))
    asset_id = await session.scalar(asset)
    if asset_id is None:
        raise NotFound(ASSET_NOT_FOUND)
    conditions: list[ColumnElement[bool]] = [Generation.asset_id == asset_id]
    if status is not None:
        conditions.append(Generation.status == status)
    if is_favorite is not None:
        conditions.append(Generation.is_favorite == is_favorite)
    total = await session.scalar(select(func.count()).select_from(Generation).where(*conditions)) or 0
    page = _newest(_select().where(*conditions)).limit(limit).offset(offset)
    return [_shown(row) for row in await session.execute(page)], total


async def iter_of(database: Database, asset_id: int) -> AsyncIterator[Sequence[ShownGeneration]]:
    """All generations of an asset, by its row id, newest first; the caller has checked whose they are.

    In chunks of `CHUNK`, the last of which has fewer, or none. What comes and goes meanwhile does not shift the others.
    """
    page = _newest(_select().where(Generation.asset_id == asset_id)).limit(CHUNK)
    following = page
    while True:
        async with database.read() as session:
            rows = (await session.execute(following)).all()
        yield [_shown(row) for row in rows]
        if len(rows) < CHUNK:
            return
        last = tuple_(literal(rows[-1].created_at, Generation.created_at.type), rows[-1].id)
        following = page.where(tuple_(Generation.created_at, Generation.id) < last)


async def change(
    session: AsyncSession, actor: Actor, public_id: str, changes: dict[str, Any]
) -> ShownGeneration:
    """Change what `changes` names of `status`, `is_favorite`, `metadata` (replaced whole) and `image_path`.

    Raises `InvalidInput` for metadata; `NotFound`; `BadRequest` for an image that is not the actor's to name, whatever
    else is wrong; `Conflict` for a status that cannot follow.
    """
    values: dict[str, Any] = {}
    if "metadata" in changes:
        values["metadata_"] = check_metadata(changes["metadata"] or {})
    asset, before = await _lock(session, actor, public_id)
    if "image_path" in changes:
        values["file_id"] = await _find_image(session, actor, before, changes["image_path"] or "")
    if "status" in changes:
        has_image = values.get("file_id", before.file_id) is not None
        _check_move(before.status, changes["status"], has_image=has_image)
        values["status"] = changes["status"]
    if "is_favorite" in changes:
        values["is_favorite"] = bool(changes["is_favorite"])
    return await _write(session, asset, before, values)


async def check_takes_image(session: AsyncSession, actor: Actor, public_id: str) -> None:
    """Raise what `attach` would, before there is a file. Locks nothing."""
    asked = _select().where(Generation.public_id == as_public_id(public_id), not_gone())
    row = (await session.execute(asked.where(Asset.owner_id == actor.user_id))).one_or_none()
    if row is None:
        raise NotFound(NOT_FOUND)
    _check_open(row)


async def lock_for_image(session: AsyncSession, actor: Actor, public_id: str) -> None:
    """As `check_takes_image`, and keeps it so until the commit.

    For before the file's row is written: whoever locks an asset and a file locks the asset first.
    """
    await _lock_open(session, actor, public_id)


async def attach(session: AsyncSession, actor: Actor, public_id: str, file: RecordedFile) -> ShownGeneration:
    """Complete a generation by its image. Raises `NotFound`, and `Conflict` for one that has ended."""
    asset, before = await _lock_open(session, actor, public_id)
    return await _write(session, asset, before, {"file_id": file.id, "status": "completed"})


async def set_favorite(
    session: AsyncSession, actor: Actor, public_id: str, *, favorite: bool
) -> ShownGeneration:
    """Make a generation its asset's favourite, instead of any other, or no favourite. Raises `NotFound`."""
    asset, before = await _lock(session, actor, public_id)
    return await _write(session, asset, before, {"is_favorite": favorite})


async def remove(session: AsyncSession, actor: Actor, public_id: str) -> str:
    """Delete a generation, and its image unless something else shares that; an admin anybody's.

    Returns its asset's public id. Raises `NotFound`.
    """
    asset, row = await _lock(session, actor, public_id, admins_too=True)
    before = _counts(asset, row).add_all(counters.of_owner_of(asset)).add_all(counters.of_generated(asset))
    await session.execute(delete(Generation).where(Generation.id == row.id))
    asset.generation_count -= 1
    await _show(session, asset)
    if row.file_id is not None:
        await files.service.release(session, [row.file_id])
    after = counters.of_owner_of(asset).add_all(counters.of_generated(asset))
    counters.note(session, before=before, after=after)
    await found.tell(session, [asset], prompts=True)
    await _record(session, "generation.deleted", asset, row)
    if asset.owner_id != actor.user_id:
        await audit.record(
            session, actor, "generation.deleted_by_admin", user_id=asset.owner_id, subject=row.public_id
        )
    return asset.public_id


async def _write(
    session: AsyncSession, asset: Asset, before: _Row, values: dict[str, Any]
) -> ShownGeneration:
    """Change a generation whose asset is locked, and all that follows from it."""
    if values.get("is_favorite") and not before.is_favorite:
        others = update(Generation).where(Generation.asset_id == asset.id, Generation.is_favorite)
        await session.execute(others.values(is_favorite=False, updated_at=now_plus()))
    shown_before = counters.of_owner_of(asset)
    mine = update(Generation).where(Generation.id == before.id)
    await session.execute(mine.values(**values, updated_at=now_plus()))
    after = await _read(session, before.id)
    if (before.is_favorite, before.status, before.file_id) != (
        after.is_favorite,
        after.status,
        after.file_id,
    ):
        await _show(session, asset)
    if before.file_id is not None and before.file_id != after.file_id:
        await files.service.release(session, [before.file_id])
    counters.note(
        session,
        before=_counts(asset, before).add_all(shown_before),
        after=_counts(asset, after).add_all(counters.of_owner_of(asset)),
    )
    await _record(session, "generation.updated", asset, after)
    return _shown(after)


async def _show(session: AsyncSession, asset: Asset) -> None:
    """Have the asset stand with the image that it now has to."""
    made = select(File.id, File.size).join(Generation, Generation.file_id == File.id)
    made = made.where(Generation.asset_id == asset.id, Generation.status == "completed")
    first = made.order_by(Generation.is_favorite.desc(), Generation.created_at, Generation.id).limit(1)
    shown = (await session.execute(first)).one_or_none()
    if shown is None:
        own = select(File.id, File.size).where(File.id == asset.own_file_id)
        shown = (await session.execute(own)).one_or_none()
    asset.file_id, asset.size = (shown.id, shown.size) if shown else (None, 0)
    asset.updated_at = now_plus()
    await session.flush()


def _check_move(before: Status, status: Status, *, has_image: bool) -> None:
    """Raise `Conflict` unless the status can follow; naming the one there is, is no move."""
    if status not in STATUSES:
        raise InvalidInput(f"status must be one of {', '.join(STATUSES)}.", field="status")
    if status == before:
        return
    if before in _ENDED or status == "pending":
        raise Conflict(f"A generation that is {before} cannot become {status}.")
    if status == "completed" and not has_image:
        raise Conflict("A generation needs an image to be completed.")


async def _find_image(session: AsyncSession, actor: Actor, before: _Row, path: str) -> int | None:
    """The file that an `image_path` names, which may be the one there is already; "" names none.

    A file can be named that an asset or a generation refers to which the actor may read; it stays until the commit.
    """
    if path == before.key:
        file_id: int | None = before.file_id
        return file_id
    file_id = None
    if path:
        mine = [not_gone(), *_readable(actor)]
        shown = exists().where(or_(Asset.file_id == File.id, Asset.own_file_id == File.id), *mine)
        made = exists().where(Generation.file_id == File.id, Generation.asset_id == Asset.id, *mine)
        named = select(File.id).where(
            File.key == path, File.media_type.startswith("image/"), or_(shown, made)
        )
        if _KEY.fullmatch(path):
            file_id = await session.scalar(named.with_for_update(read=True, key_share=True, of=File))
        if file_id is None:
            raise BadRequest("image_path names no image of yours.")
    if before.status in _ENDED:
        raise Conflict("The image of a generation that has ended stays as it is.")
    return file_id


async def _lock_open(session: AsyncSession, actor: Actor, public_id: str) -> tuple[Asset, _Row]:
    asset, before = await _lock(session, actor, public_id)
    _check_open(before)
    return asset, before


def _check_open(row: _Row) -> None:
    if row.status in _ENDED:
        raise Conflict("A generation that has ended takes no image.")


async def _lock(
    session: AsyncSession, actor: Actor, public_id: str, *, admins_too: bool = False
) -> tuple[Asset, _Row]:
    """A generation of the actor's, with its asset locked. Raises `NotFound`."""
    mine = _readable(actor) if admins_too else [Asset.owner_id == actor.user_id]
    of_asset = select(Generation.asset_id).where(Generation.public_id == as_public_id(public_id))
    asset = await _lock_asset(session, Asset.id == of_asset.scalar_subquery(), not_gone(), *mine)
    if asset is None:
        raise NotFound(NOT_FOUND)
    # Only a statement that begins after the lock sees what others did to it.
    row = (
        await session.execute(_select().where(Generation.public_id == as_public_id(public_id)))
    ).one_or_none()
    if row is None:
        raise NotFound(NOT_FOUND)
    return asset, row


async def _lock_asset(session: AsyncSession, *asked: ColumnElement[bool]) -> Asset | None:
    statement = select(Asset).where(*asked).with_for_update(of=Asset)
    asset: Asset | None = await session.scalar(statement, execution_options={"populate_existing": True})
    if asset is not None and asset.own_file_id is None and not asset.generation_count:
        # A server of the version before, which may still run, writes only what is shown.
        asset.own_file_id = asset.file_id
    return asset


def _readable(actor: Actor) -> list[ColumnElement[bool]]:
    return [] if actor.is_admin else [Asset.owner_id == actor.user_id]


def _select() -> Select[Any]:
    """What is shown of a generation, and what its changes need to know."""
    return (
        select(
            Generation.id,
            Generation.asset_id,
            Generation.file_id,
            Generation.model,
            Generation.public_id,
            Asset.public_id.label("asset_public_id"),
            Generation.status,
            Generation.is_favorite,
            Generation.parameters,
            Generation.metadata_.label("metadata"),
            Generation.created_at,
            Generation.updated_at,
            func.coalesce(File.key, "").label("key"),
            func.coalesce(File.size, 0).label("size"),
            func.coalesce(File.width, 0).label("width"),
            func.coalesce(File.height, 0).label("height"),
            func.coalesce(File.format, "").label("format"),
            case((Asset.visibility == "public", True), else_=False).label("is_public"),
        )
        .select_from(Generation)
        .join(Asset, Asset.id == Generation.asset_id)
        .outerjoin(File, File.id == Generation.file_id)
    )


def _newest(statement: Select[Any]) -> Select[Any]:
    return statement.order_by(Generation.created_at.desc(), Generation.id.desc())


async def _read(session: AsyncSession, generation_id: int) -> _Row:
    row: _Row = (await session.execute(_select().where(Generation.id == generation_id))).one()
    return row


_SHOWN = tuple(one.name for one in fields(ShownGeneration))


def _shown(row: _Row) -> ShownGeneration:
    return ShownGeneration(**{name: getattr(row, name) for name in _SHOWN})


def _counts(asset: Asset, row: _Row) -> counters.Counts:
    return counters.of_generation(
        asset.project_id,
        status=row.status,
        model=row.model,
        created_at=row.created_at,
        size=None if row.file_id is None else row.size,
    )


async def _record(session: AsyncSession, kind: str, asset: Asset, row: _Row) -> None:
    data = {"asset_id": asset.public_id, "status": row.status}
    await events.record(session, kind, owner_id=asset.owner_id, subject=row.public_id, data=data)
