"""API keys: made, listed, revoked, and whom one stands for."""

import asyncio
import json
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, Text, bindparam, cast, delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit, service, tokens
from mediakeep.accounts.actor import SCOPES, Actor, Caller, Scope, effective_scopes
from mediakeep.accounts.models import ApiKey, User
from mediakeep.db import Database, HotQuery, now_plus
from mediakeep.errors import NotFound

log = structlog.get_logger(__name__)

_KEY_USE_SECONDS = 60

_NOTE_SECONDS = 1

_REVOKED_SECONDS = 7 * 86_400


@dataclass(frozen=True, kw_only=True)
class KeyHolder:
    """Whom an API key stands for, and whether its use is to be noted again."""

    actor: Actor
    use_is_due: bool


async def create_api_key(
    session: AsyncSession,
    caller: Caller,
    user_id: int,
    *,
    name: str,
    scopes: frozenset[Scope],
    expires_in_days: int | None = None,
    uploads_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which is told this once and never again."""
    await service.lock_user(session, user_id)
    key = tokens.new_api_key()
    row = ApiKey(
        user_id=user_id,
        name=name,
        prefix=key.text[:11],
        key_hash=key.digest,
        scopes=[scope for scope in SCOPES if scope in scopes],
        uploads_per_minute=uploads_per_minute,
        expires_at=None if expires_in_days is None else now_plus(expires_in_days * 86_400),
    )
    session.add(row)
    await session.flush()
    await session.refresh(row, ["expires_at"])
    await audit.record(
        session, caller, "key.created", user_id=user_id, subject=row.public_id, scopes=row.scopes
    )
    return row, key.text


async def list_api_keys(session: AsyncSession, user_id: int | None = None) -> list[ApiKey]:
    """The keys of a user, or everybody's, that were not revoked, newest first."""
    keys = select(ApiKey).where(ApiKey.revoked_at.is_(None)).order_by(ApiKey.id.desc())
    if user_id is not None:
        keys = keys.where(ApiKey.user_id == user_id)
    return list(await session.scalars(keys))


async def revoke_api_key(
    session: AsyncSession, caller: Caller, public_id: str, *, user_id: int | None = None
) -> None:
    """Make a key worthless at once. Raises `NotFound`, also for keys of others when `user_id` is given."""
    mine = [ApiKey.public_id == public_id, ApiKey.revoked_at.is_(None)]
    if user_id is not None:
        mine.append(ApiKey.user_id == user_id)
    owner_id = await session.scalar(
        update(ApiKey).where(*mine).values(revoked_at=now_plus()).returning(ApiKey.user_id)
    )
    if owner_id is None:
        raise NotFound("API key not found")
    await audit.record(session, caller, "key.revoked", user_id=owner_id, subject=public_id)


async def forget_revoked_keys(session: AsyncSession, *, limit: int) -> int:
    """Remove up to `limit` keys that were revoked more than a week ago; returns how many those were."""
    old = select(ApiKey.id).where(ApiKey.revoked_at < now_plus(-_REVOKED_SECONDS)).limit(limit)
    removed = delete(ApiKey).where(ApiKey.id.in_(old)).returning(ApiKey.id)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())


async def find_actor_by_api_key(database: Database, key: str, *, address: str = "") -> KeyHolder | None:
    """Whom an API key stands for; None when it or its user is no good."""
    rows = await database.fetch(_BY_KEY, {"key_hash": tokens.digest_of(key)})
    if not rows:
        return None
    user_id, email, is_admin, api_key_id, listed, uploads_per_minute, use_is_due = rows[0]
    scopes = effective_scopes(json.loads(listed), is_admin=is_admin)
    actor = Actor(
        user_id=user_id,
        email=email,
        is_admin="admin" in scopes,
        scopes=scopes,
        api_key_id=api_key_id,
        uploads_per_minute=uploads_per_minute,
        address=address,
    )
    return KeyHolder(actor=actor, use_is_due=bool(use_is_due))


async def note_key_use(database: Database, api_key_id: int) -> None:
    """Write down that a key was used, in a transaction of its own; a failure is logged and holds nobody up."""
    try:
        async with asyncio.timeout(_NOTE_SECONDS), database.write() as session:
            await session.execute(
                update(ApiKey).where(ApiKey.id == api_key_id, _use_is_due()).values(last_used_at=now_plus())
            )
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        log.warning("api_key.use_not_noted", api_key_id=api_key_id, error=type(error).__name__)


def _use_is_due() -> ColumnElement[bool]:
    return or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < now_plus(-_KEY_USE_SECONDS))


_BY_KEY = HotQuery(
    select(
        User.id,
        User.email,
        User.is_admin,
        ApiKey.id,
        cast(ApiKey.scopes, Text),
        ApiKey.uploads_per_minute,
        _use_is_due(),
    )
    .join(ApiKey, ApiKey.user_id == User.id)
    .where(
        ApiKey.key_hash == bindparam("key_hash", type_=ApiKey.key_hash.type),
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now_plus()),
        User.is_active(),
    )
)
