"""Requests that are carried out once, however often they are sent (draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
import json
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts.models import IdempotencyKey
from mediakeep.db import insert_into, now_plus
from mediakeep.errors import InvalidInput, Unavailable

#: How long an answer is kept, seconds.
KEPT_SECONDS = 86_400

MAX_KEY_LENGTH = 255

_FIELD = "Idempotency-Key"


class Repeated(Exception):
    """The request was carried out before, maybe just now by somebody quicker; this was the answer."""

    def __init__(self, answer: str) -> None:
        super().__init__("the request was carried out before")
        self.answer = answer


def check_key(key: str | None) -> str | None:
    """The header's value. Raises `InvalidInput` for one that is empty, too long or not printable ASCII."""
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidInput(f"It has 1 to {MAX_KEY_LENGTH} printable ASCII characters.", field=_FIELD)
    return key


def fingerprint(*parts: Any) -> str:  # anything that JSON can carry
    """SHA-256 (hex) of what a request asks for: two requests with one key must agree in it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


async def find(session: AsyncSession, user_id: int, key: str, asked: str) -> str | None:
    """The answer that a user's request with this key had within a day.

    Raises `InvalidInput` where that was another request.
    """
    mine = (IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
    fresh = IdempotencyKey.created_at > now_plus(-KEPT_SECONDS)
    row = await session.scalar(select(IdempotencyKey).where(*mine, fresh))
    if row is None:
        return None
    if row.fingerprint != asked:
        raise InvalidInput("This key was used for another request.", field=_FIELD)
    return row.answer


async def record(session: AsyncSession, user_id: int, key: str, asked: str, answer: str) -> None:
    """Keep an answer, in the transaction of what it answers.

    Raises `Repeated` where another request with this key was quicker, so that the transaction rolls back;
    `InvalidInput` where that asked for something else; `Unavailable` where it was forgotten just then.
    """
    old = (IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
    await session.execute(
        delete(IdempotencyKey).where(*old, IdempotencyKey.created_at <= now_plus(-KEPT_SECONDS))
    )
    statement = insert_into(session, IdempotencyKey).values(
        user_id=user_id, key=key, fingerprint=asked, answer=answer
    )
    written = await session.scalar(statement.on_conflict_do_nothing().returning(IdempotencyKey.user_id))
    if written is None:
        earlier = await find(session, user_id, key, asked)
        if earlier is None:  # it turned a day old in between
            raise Unavailable("Try again in a moment.")
        raise Repeated(earlier)


async def forget_old(session: AsyncSession, *, limit: int) -> int:
    """Remove up to `limit` answers that nobody may ask for again; returns how many those were."""
    name = (IdempotencyKey.user_id, IdempotencyKey.key)
    old = select(*name).where(IdempotencyKey.created_at <= now_plus(-KEPT_SECONDS)).limit(limit)
    removed = delete(IdempotencyKey).where(tuple_(*name).in_(old)).returning(IdempotencyKey.key)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())
