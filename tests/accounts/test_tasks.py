"""The upkeep of accounts."""

from types import SimpleNamespace

import pytest
from sqlalchemy import func, insert, select, update

from mediakeep import features
from mediakeep.accounts import tasks
from mediakeep.accounts.models import ApiKey, AuditEntry, IdempotencyKey, RateHit, SignIn
from mediakeep.db import now_plus
from mediakeep.tasks.registry import registered_tasks

DAY = 86_400


@pytest.fixture
def count(database):
    async def count(table):
        async with database.read() as session:
            return await session.scalar(select(func.count()).select_from(table))

    return count


async def test_what_has_ended_is_forgotten_and_the_rest_stays(
    database, settings, user, sign_in, create_key, change, count, monkeypatch
):
    monkeypatch.setattr(tasks, "_CHUNK", 2)
    entry = {"action": "login.failed", "address": "", "details": {}}
    for number, age in enumerate((0, 10, 10, 10, 10)):
        await sign_in(user)
        await create_key(user)
        await change(
            update(SignIn).where(SignIn.revoked_at.is_(None)).values(revoked_at=now_plus(-age * DAY))
        )
        await change(
            update(ApiKey).where(ApiKey.revoked_at.is_(None)).values(revoked_at=now_plus(-age * DAY))
        )
        await change(insert(RateHit).values(bucket="b", at=now_plus(-age * DAY)))
        answered = {"user_id": user.user_id, "key": str(number), "fingerprint": "", "answer": ""}
        await change(insert(IdempotencyKey).values(**answered, created_at=now_plus(-age * DAY)))
    await create_key(user)
    before = await count(AuditEntry)
    for age in (29, 31, 31, 31):
        await change(insert(AuditEntry).values(**entry, created_at=now_plus(-age * DAY)))
    library = SimpleNamespace(database=database, settings=settings.model_copy(update={"audit_days": 30}))
    await tasks.purge(library, None)
    assert [await count(table) for table in (SignIn, RateHit, IdempotencyKey)] == [1, 1, 1]
    assert await count(ApiKey) == 2  # the one that was revoked today, and the good one
    assert await count(AuditEntry) == before + 1


def test_the_workers_run_it_every_hour(settings):
    assert tasks in features.task_modules
    assert registered_tasks()["accounts.purge"].every(settings) == 3600
