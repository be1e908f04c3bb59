"""What is in a project or an asset, in numbers; a project's come from its counters."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Row, Select, case, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.assets.models import Generation, ProjectCounter
from mediakeep.db import now_plus
from mediakeep.files.models import File

_Row = Row[*tuple[Any, ...]]

DAYS = 30
MOST_USED_TAGS = 10

#: Generations that the history of an asset has.
MOST_HISTORY = 1000

_DAILY = {"day": "count", "day_completed": "completed", "day_failed": "failed"}


async def project_statistics(session: AsyncSession, project_id: int) -> dict[str, Any]:
    """What spec 004 shows of a project, by its row id; of statuses and models those that there are.

    A day's figures are of the generations that were created on it, in UTC.
    """
    today = (await session.execute(select(now_plus()))).scalar_one().date()
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    counted = await session.execute(
        select(ProjectCounter.dim, ProjectCounter.val, ProjectCounter.n, ProjectCounter.bytes).where(
            ProjectCounter.project_id == project_id,
            ProjectCounter.n > 0,
            or_(
                ProjectCounter.dim.in_(("assets", "files", "model", "status")),
                ProjectCounter.dim.in_(_DAILY) & (ProjectCounter.val >= days[0].isoformat()),
            ),
        )
    )
    rows = counted.all()
    by_status = _most_first(rows, "status")
    return {
        "total_assets": sum(row.n for row in rows if row.dim == "assets"),
        "total_generations": sum(by_status.values()),
        "generations_by_status": by_status,
        "storage_used": sum(row.bytes for row in rows if row.dim == "files"),
        "most_used_tags": [
            tag["name"] for tag in await tag_counts(session, project_id, limit=MOST_USED_TAGS)
        ],
        "generation_trends": {"daily": _daily(rows, days), "models_used": _most_first(rows, "model")},
    }


async def tag_counts(
    session: AsyncSession, project_id: int, *, limit: int | None = None, offset: int = 0
) -> list[dict[str, Any]]:
    """A project's tags as `{"name", "count"}`, those of most assets first, then by name without case.

    The name is how the tag was last written in the project.
    """
    rows = await session.execute(select_tags(project_id).limit(limit).offset(offset))
    return [{"name": row.name or row.val, "count": row.n} for row in rows]


def select_tags(project_id: int) -> Select[*tuple[Any, ...]]:
    tags = select(ProjectCounter.name, ProjectCounter.val, ProjectCounter.n).where(
        ProjectCounter.project_id == project_id,
        ProjectCounter.dim == literal_column("'tag'"),  # as its index says
        ProjectCounter.n > 0,
    )
    return tags.order_by(ProjectCounter.n.desc(), ProjectCounter.val)


async def count_tags(session: AsyncSession, project_id: int) -> int:
    """How many tags a project's assets have in all."""
    every = select_tags(project_id).order_by(None).subquery()
    return await session.scalar(select(func.count()).select_from(every)) or 0


async def asset_statistics(session: AsyncSession, asset_id: int) -> dict[str, Any]:
    """What spec 004 shows of an asset, by its row id; `generation_history` has the newest `MOST_HISTORY`, oldest first."""
    made = select().select_from(Generation).outerjoin(File, File.id == Generation.file_id)
    made = made.where(Generation.asset_id == asset_id)
    sums = made.add_columns(
        func.count().label("total"),
        func.count().filter(Generation.status == "completed").label("completed"),
        func.count().filter(Generation.status == "failed").label("failed"),
        func.max(case((Generation.is_favorite, Generation.public_id))).label("favorite"),
        func.coalesce(func.sum(File.size), 0).label("bytes"),
    )
    counted = (await session.execute(sums)).one()
    shown = (Generation.public_id, Generation.status, Generation.is_favorite, Generation.model)
    newest = made.add_columns(*shown, Generation.created_at, File.size)
    newest = newest.order_by(Generation.created_at.desc(), Generation.id.desc()).limit(MOST_HISTORY)
    rows = (await session.execute(newest)).all()
    return {
        "total_generations": counted.total,
        "successful_generations": counted.completed,
        "failed_generations": counted.failed,
        "favorite_generation_id": counted.favorite,
        "total_file_size": int(counted.bytes),
        "generation_history": [
            {
                "id": row.public_id,
                "status": row.status,
                "created_at": f"{row.created_at:%Y-%m-%dT%H:%M:%SZ}",
                "model": row.model,
                "is_favorite": row.is_favorite,
                "file_size": row.size or 0,
            }
            for row in reversed(rows)
        ],
    }


def _most_first(rows: Sequence[_Row], dim: str) -> dict[str, int]:
    found = [row for row in rows if row.dim == dim]
    return {row.val: row.n for row in sorted(found, key=lambda row: (-row.n, row.val))}


def _daily(rows: Sequence[_Row], days: Sequence[date]) -> list[dict[str, Any]]:
    counted = {(_DAILY[row.dim], row.val): row.n for row in rows if row.dim in _DAILY}
    return [
        {"date": day, **{name: counted.get((name, day), 0) for name in _DAILY.values()}}
        for day in (one.isoformat() for one in days)
    ]
