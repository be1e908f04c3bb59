"""Counting anew what is in projects, to see whether their counters are right."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, String, cast, func, literal, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from mediakeep.assets import counters
from mediakeep.assets.models import Asset, AssetTag, Generation, ProjectCounter, Tag
from mediakeep.collections.models import Project
from mediakeep.db import Database
from mediakeep.files.models import File

_Select = Select[*tuple[Any, ...]]
_Text = ColumnElement[str] | InstrumentedAttribute[Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A counter that says something else than there is."""

    project_id: int
    project_public_id: str
    dim: str
    val: str
    #: How a tag is written.
    name: str | None
    counted: int
    counted_bytes: int
    stored: int
    stored_bytes: int


async def recount(
    database: Database, project_id: int | None = None, *, fix: bool = False
) -> list[Difference]:
    """What differs in a project, by its row id, or in all; `fix` corrects it, a project in each transaction."""
    found: list[Difference] = []
    async with database.read() as session:
        projects = select(Project.id, Project.public_id).order_by(Project.id)
        if project_id is not None:
            projects = projects.where(Project.id == project_id)
        differing = {
            row: differences
            for row in (await session.execute(projects)).all()
            if (differences := await _compare(session, row.id, row.public_id))
        }
    for row, differences in differing.items():
        if fix:
            async with database.write() as session:
                found += await _correct(session, row.id, row.public_id)
        else:
            found += differences
    return found


async def _correct(session: AsyncSession, project_id: int, public_id: str) -> list[Difference]:
    # Nobody else corrects it at the same time. Others may go on changing it: with a change comes its count, so that
    # what differed in one view of the database is what differs.
    await session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))
    found = await _compare(session, project_id, public_id)
    missing = counters.Counts()
    for one in found:
        key = (project_id, one.dim, one.val)
        missing.add(key, one.counted - one.stored, one.counted_bytes - one.stored_bytes, one.name)
    counters.note(session, after=missing)
    return found


async def _compare(session: AsyncSession, project_id: int, public_id: str) -> list[Difference]:
    """One statement, so that it sees causes and counters of one moment."""
    both = union_all(*_counted(project_id), _stored(project_id)).subquery()
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
        Difference(project_id=project_id, project_public_id=public_id, **row)
        for row in (await session.execute(compared)).mappings()
    ]


def _counted(project_id: int) -> list[_Select]:
    assets = select().select_from(Asset).where(Asset.project_id == project_id)
    tags = assets.join(AssetTag, AssetTag.asset_id == Asset.id).join(Tag, Tag.id == AssetTag.tag_id)
    made = assets.join(Generation, Generation.asset_id == Asset.id)
    day = counters.day_of_generation()
    return [
        _count(assets, "assets"),
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


def _stored(project_id: int) -> _Select:
    stored: _Select = select(
        ProjectCounter.dim,
        ProjectCounter.val,
        cast(null(), String),
        literal(0),
        literal(0),
        ProjectCounter.n,
        ProjectCounter.bytes,
    )
    return stored.where(ProjectCounter.project_id == project_id)
