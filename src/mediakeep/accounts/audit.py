"""The log of what matters to the security of accounts: who did what to whom, from where. Never a secret in it."""

from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts.actor import Actor, Caller
from mediakeep.accounts.models import ApiKey, AuditEntry, SignIn
from mediakeep.db import now_plus

Action = Literal[
    "asset.deleted_by_admin",
    "collection.deleted_by_admin",
    "generation.deleted_by_admin",
    "job.cancelled_by_admin",
    "key.created",
    "key.revoked",
    "login.failed",
    "login.succeeded",
    "password.changed",
    "refresh.reused",
    "session.ended",
    "task.cancelled",
    "task.retried",
    "user.deleted",
    "user.demoted",
    "user.disabled",
    "user.enabled",
    "user.promoted",
    "user.registered",
    "webhook.deleted_by_admin",
]

ACTIONS: tuple[Action, ...] = get_args(Action)

_ADDRESS_CHARACTERS = 64


async def record(
    session: AsyncSession,
    caller: Caller,
    action: Action,
    *,
    user_id: int | None,
    subject: str | None = None,
    **details: Any,  # what JSON can carry, and no secret
) -> None:
    """Note an act, if this transaction commits.

    `user_id` is whose account it concerns, `subject` the public id of the thing where it is not the account itself.
    """
    values: dict[str, Any] = {"actor_id": None, "api_key_id": None, "sign_in_id": None}
    if isinstance(caller, Actor):
        key = select(ApiKey.public_id).where(ApiKey.id == caller.api_key_id)
        sign_in = select(SignIn.public_id).where(SignIn.id == caller.sign_in_id)
        values = {
            "actor_id": caller.user_id,
            "api_key_id": key.scalar_subquery(),
            "sign_in_id": sign_in.scalar_subquery(),
        }
    await session.execute(
        insert(AuditEntry).values(
            **values,
            created_at=now_plus(),
            action=action,
            address=_printable(caller.address),
            user_id=user_id,
            subject=subject,
            details=details,
        )
    )


async def list_page(
    session: AsyncSession,
    *,
    limit: int,
    offset: int = 0,
    action: str | None = None,
    user_id: int | None = None,
) -> tuple[list[AuditEntry], int]:
    """A page of entries, newest first, and how many there are in all; `user_id` did it, or had it done to them."""
    conditions: list[ColumnElement[bool]] = []
    if action is not None:
        conditions.append(AuditEntry.action == action)
    if user_id is not None:
        conditions.append(or_(AuditEntry.actor_id == user_id, AuditEntry.user_id == user_id))
    total = await session.scalar(select(func.count()).select_from(AuditEntry).where(*conditions)) or 0
    newest = select(AuditEntry).where(*conditions).order_by(AuditEntry.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total


async def forget_old(session: AsyncSession, *, days: int, limit: int) -> int:
    """Remove up to `limit` entries of more than `days` ago; returns how many those were."""
    old = select(AuditEntry.id).where(AuditEntry.created_at < now_plus(-days * 86_400)).limit(limit)
    removed = delete(AuditEntry).where(AuditEntry.id.in_(old)).returning(AuditEntry.id)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())


def _printable(address: str) -> str:
    """What a proxy passes on may be anything that a client wrote."""
    return "".join(letter for letter in address if letter.isprintable())[:_ADDRESS_CHARACTERS]
