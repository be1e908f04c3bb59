"""Answers that are kept, where two requests meet. The whole of it: `tests/contract/test_idempotency.py`."""

import pytest

from mediakeep.accounts import idempotency
from mediakeep.errors import Unavailable


async def test_an_answer_that_is_forgotten_just_then_is_worth_another_try(database, user, monkeypatch):
    async def find_nothing(*_):
        return None

    async with database.write() as session:
        await idempotency.record(session, user.user_id, "key", "asked", "answer")
    monkeypatch.setattr(idempotency, "find", find_nothing)
    with pytest.raises(Unavailable, match="Try again in a moment"):
        async with database.write() as session:
            await idempotency.record(session, user.user_id, "key", "asked", "answer")
