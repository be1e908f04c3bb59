"""Counting anew what owners and projects have, to see whether their counters are right."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from mediakeep.accounts.models import User
from mediakeep.assets import counters
from mediakeep.assets.counters import Scope
from mediakeep.assets.models import Asset, AssetTag, Generation, OwnerCounter, ProjectCounter, Tag
from mediakeep.collections.models import Project
from mediakeep.collections.service import KINDS
from mediakeep.db import Database
from mediakeep.files.models import File

_Select = Select[*tuple[Any, ...]]
_Text = ColumnElement[str] | InstrumentedAttribute[Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A counter that says something else than there is."""

    scope: Scope
    row_id: int
    #: The user's address or the project's id, as people know them.
    known_as: str
    dim: str
    val: str
    #: How a tag is written.
    name: str | None
    counted: int
    counted_bytes: int
    stored: int
    stored_bytes: int


_TABLES: Final[dict[Scope, Any]] = {"owner": User, "project": Project}

_KNOWN_AS: Final[dict[Scope, Any]] = {"owner": User.email, "project": Project.public_id}


async def recount(
    database: Database, project_id: int | None = None, *, fix: bool = False
) -> list[Difference]:
    """What differs in a project, by its row id, or in all and their owners; `fix` corrects it, one in a transaction."""
    found: list[Difference] = []
    for scope, table in _TABLES.items():
        wanted = select(table.id, _KNOWN_AS[scope]).order_by(table.id)
        if project_id is not None:
            if scope == "owner":
                continue
            wanted = wanted.where(table.id == project_id)
        async with database.read() as session:
            rows = (await session.execute(wanted)).all()
        for row_id, known_as in rows:
            async with database.read() as session:
                differences = await _compare(session, scope, row_id, known_as)
            if differences and fix:
                async with database.write() as session:
                    differences = await _correct(session, scope, row_id, known_as)
            found += differences
    return found


async def _correct(session: AsyncSession, scope: Scope, row_id: int, known_as: str) -> list[Difference]:
    # Nobody else corrects it at the same time. Others may go on changing it: with a change comes its count, so that
    # what differed in one view of the database is what differs.
    table = _TABLES[scope]
    await session.execute(select(table.id).where(table.id == row_id).with_for_update(key_share=True))
    found = await _compare(session, scope, row_id, known_as)
    missing = counters.Counts()
    for one in found:
        key = (scope, row_id, one.dim, one.val)
        missing.add(key, one.counted - one.stored, one.counted_bytes - one.stored_bytes, one.name)
    counters.note(session, after=missing)
    return found


async def _compare(session: AsyncSession, scope: Scope, row_id: int, known_as: str) -> list[Difference]:
    """One statement, so that it sees causes and counters of one moment."""
    counted = _counted_of_owner(row_id) if scope == "owner" else _counted(row_id)
    both = union_all(*counted, _stored(scope, row_id)).subquery()
    sums = {
        name: cast(func.sum(both.c[name]), BigInteger)
        for name in ("counted", "counted_bytes", "stored", "stored_bytes")
    }
    compared = (
        select(
            both.c.dim,
            both.c.val,
            func.max(both.c.name).label("name"),
            *(s.label(n) for n, s in sums.items()),
        )
        .group_by(both.c.dim, both.c.val)
        .having((sums["counted"] != sums["stored"]) | (sums["counted_bytes"] != sums["stored_bytes"]))
        .order_by(both.c.dim, both.c.val)
    )
    return [
        Difference(scope=scope, row_id=row_id, known_as=known_as, **row)
        for row in (await session.execute(compared)).mappings()
    ]


def _counted_of_owner(owner_id: int) -> list[_Select]:
    assets = select().select_from(Asset).where(Asset.owner_id == owner_id)
    listed, fileless = assets.where(Asset.file_id.is_not(None)), assets.where(Asset.file_id.is_(None))
    tags = listed.join(AssetTag, AssetTag.asset_id == Asset.id).join(Tag, Tag.id == AssetTag.tag_id)
    both = Asset.client_id.is_not(None) & Asset.campaign_id.is_not(None)
    is_media = Asset.persona_id.is_not(None) & Asset.type.in_(("image", "video"))
    counted = [
        _count(listed, "listed", Asset.type, size=Asset.size),
        _count(tags, "tag", Tag.folded),
        _count(listed.where(is_media), "media", _joined(Asset.persona_id, Asset.type), size=Asset.size),
        _count(assets.where(both), "pair", _joined(Asset.client_id, Asset.campaign_id)),
    ]
    for kind in KINDS:
        column = getattr(Asset, kind)
        counted.append(_count(listed.where(column.is_not(None)), kind, cast(column, String)))
        value = literal_column(f"'{kind}:'", String()) + cast(column, String)
        counted.append(_count(fileless.where(column.is_not(None)), "fileless", value))
    return counted


def _joined(one: _Text, other: _Text) -> ColumnElement[str]:
    return cast(one, String) + literal_column("':'", String()) + cast(other, String)


def _counted(project_id: int) -> list[_Select]:
    assets = select().select_from(Asset).where(Asset.project_id == project_id)
    images = assets.where(Asset.type == "image")
    tags = images.join(AssetTag, AssetTag.asset_id == Asset.id).join(Tag, Tag.id == AssetTag.tag_id)
    made = assets.join(Generation, Generation.asset_id == Asset.id)
    day = counters.day_of_generation()
    return [
        _count(images, "assets"),
        _count(images.where(Asset.generation_count > 0), "generated"),
        _count(tags, "tag", Tag.folded, name=func.max(Tag.name)),
        _count(made, "status", Generation.status),
        _count(made.where(Generation.model != ""), "model", Generation.model),
        _count(made, "day", day),
        _count(made.where(Generation.status == "completed"), "day_completed", day),
        _count(made.where(Generation.status == "failed"), "day_failed", day),
        _count(assets.join(File, File.id == counters.own_file_id()), "files", size=File.size),
        _count(made.join(File, File.id == Generation.file_id), "files", size=File.size),
    ]


def _count(
    among: _Select,
    dim: str,
    val: _Text | None = None,
    *,
    name: _Text | None = None,
    size: InstrumentedAttribute[int] | None = None,
) -> _Select:
    counted = among.add_columns(
        literal(dim).label("dim"),
        (literal("") if val is None else cast(val, String)).label("val"),
        (cast(null(), String) if name is None else name).label("name"),
        func.count().label("counted"),
        (literal(0) if size is None else func.coalesce(func.sum(size), 0)).label("counted_bytes"),
        literal(0).label("stored"),
        literal(0).label("stored_bytes"),
    )
    return counted if val is None else counted.group_by(val)


def _stored(scope: Scope, row_id: int) -> _Select:
    table = OwnerCounter if scope == "owner" else ProjectCounter
    mine = OwnerCounter.owner_id == row_id if scope == "owner" else ProjectCounter.project_id == row_id
    stored: _Select = select(
        table.dim, table.val, cast(null(), String), literal(0), literal(0), table.n, table.bytes
    )
    return stored.where(mine)
