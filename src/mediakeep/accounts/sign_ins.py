"""Sign-ins: begun with a password, kept alive by refresh tokens, ended by anybody who has the account."""

from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy import ColumnElement, bindparam, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit, tokens
from mediakeep.accounts.actor import SCOPES, Actor, Caller, Stranger, effective_scopes
from mediakeep.accounts.emails import fold_email
from mediakeep.accounts.models import SignIn, User
from mediakeep.accounts.tokens import Claims, TokenType
from mediakeep.db import Database, HotQuery, now_plus
from mediakeep.errors import InvalidInput, NotAuthenticated, NotFound
from mediakeep.settings import Settings

log = structlog.get_logger(__name__)

WRONG_LOGIN = "Incorrect email or password"

_USER_AGENT_CHARACTERS = 200

_ENDED_SIGN_IN_SECONDS = 7 * 86_400


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """An account whose password was proved, and the hash that it was proved against."""

    user_id: int
    password_hash: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a client gets for signing in or refreshing; `expires_in_seconds` is the access token's."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_in_seconds: int
    session_seconds: int


async def find_credentials(session: AsyncSession, email: str) -> Credentials | None:
    """What a password is checked against; None for unknown and disabled accounts."""
    try:
        folded = fold_email(email)
    except InvalidInput:
        return None
    row = (
        await session.execute(
            select(User.id, User.password_hash).where(User.email_folded == folded, User.is_active())
        )
    ).one_or_none()
    return row and Credentials(user_id=row.id, password_hash=row.password_hash)


async def sign_in(
    session: AsyncSession,
    settings: Settings,
    credentials: Credentials,
    *,
    secret: bytes,
    caller: Caller,
    user_agent: str = "",
) -> Tokens:
    """Begin a sign-in. Raises `NotAuthenticated` when password or account changed since the password was proved."""
    unchanged = await session.scalar(
        select(User.id)
        .where(
            User.id == credentials.user_id,
            User.password_hash == credentials.password_hash,
            User.is_active(),
        )
        .with_for_update()
    )
    if unchanged is None:
        raise NotAuthenticated(WRONG_LOGIN)
    family = tokens.new_family()
    refresh_token = tokens.new_refresh_token(family.text)
    row = SignIn(
        user_id=credentials.user_id,
        family_hash=family.digest,
        refresh_hash=refresh_token.digest,
        user_agent=user_agent[:_USER_AGENT_CHARACTERS],
        expires_at=now_plus(settings.session_days * 86_400),
    )
    session.add(row)
    await session.flush()
    await audit.record(session, caller, "login.succeeded", user_id=credentials.user_id, subject=row.public_id)
    claims = Claims(user_id=credentials.user_id, sign_in=row.public_id)
    lifetime = timedelta(days=settings.session_days)
    return _tokens(settings, claims, secret=secret, refresh_token=refresh_token.text, lifetime=lifetime)


async def refresh(
    session: AsyncSession, settings: Settings, refresh_token: str, *, secret: bytes, caller: Stranger
) -> Tokens | None:
    """Exchange a refresh token for new ones, once. None when it is no good.

    A token that was exchanged before has been copied by somebody: then the sign-in ends for both, which is why
    this answers None instead of raising. Let the transaction commit in any case. RFC 9700 §4.14.2.
    """
    family = tokens.family_of(refresh_token)
    found = (
        await session.execute(
            select(
                SignIn.id,
                SignIn.public_id,
                SignIn.user_id,
                SignIn.refresh_hash,
                SignIn.expires_at,
                now_plus(),
            )
            .join(User, User.id == SignIn.user_id)
            .where(SignIn.family_hash == tokens.digest_of(family), _is_good(), User.is_active())
            .with_for_update(of=SignIn)
        )
    ).one_or_none()
    if found is None:
        return None
    sign_in_id, public_id, user_id, refresh_hash, expires_at, now = found
    if refresh_hash != tokens.digest_of(refresh_token):
        log.warning("sign_in.refresh_reused", user_id=user_id, sign_in_id=sign_in_id)
        await session.execute(update(SignIn).where(SignIn.id == sign_in_id).values(revoked_at=now_plus()))
        await audit.record(session, caller, "refresh.reused", user_id=user_id, subject=public_id)
        return None
    following = tokens.new_refresh_token(family)
    await session.execute(
        update(SignIn)
        .where(SignIn.id == sign_in_id)
        .values(refresh_hash=following.digest, last_used_at=now_plus())
    )
    claims = Claims(user_id=user_id, sign_in=public_id)
    return _tokens(settings, claims, secret=secret, refresh_token=following.text, lifetime=expires_at - now)


async def list_sign_ins(session: AsyncSession, user_id: int) -> list[SignIn]:
    """A user's sign-ins that have not ended, the one used last first."""
    good = select(SignIn).where(SignIn.user_id == user_id, _is_good())
    return list(await session.scalars(good.order_by(SignIn.last_used_at.desc(), SignIn.id.desc())))


async def log_out(session: AsyncSession, actor: Actor) -> None:
    """End the sign-in that asks. Raises `PermissionDenied` for an API key."""
    await _end(session, actor, SignIn.id == actor.require_sign_in())


async def end_sign_in(session: AsyncSession, actor: Actor, public_id: str) -> None:
    """End one of the actor's sign-ins. Raises `NotFound`, `PermissionDenied` for an API key."""
    actor.require_sign_in()
    if not await _end(session, actor, SignIn.public_id == public_id):
        raise NotFound("Sign-in not found")


async def end_other_sign_ins(session: AsyncSession, actor: Actor) -> None:
    """End all of the actor's sign-ins but the one that asks. Raises `PermissionDenied` for an API key."""
    await _end(session, actor, SignIn.id != actor.require_sign_in())


async def forget_ended_sign_ins(session: AsyncSession, *, limit: int) -> int:
    """Remove up to `limit` sign-ins that ended a week ago or longer; returns how many those were."""
    long_ago = now_plus(-_ENDED_SIGN_IN_SECONDS)
    ended = or_(SignIn.expires_at < long_ago, SignIn.revoked_at < long_ago)
    old = select(SignIn.id).where(ended).limit(limit)
    removed = delete(SignIn).where(SignIn.id.in_(old)).returning(SignIn.id)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())


async def find_actor_by_token(
    database: Database, token: str, *, secret: bytes, type_: TokenType = "access", address: str = ""
) -> Actor | None:
    """Whom a signed token stands for; None when it, its sign-in or its user is no good any more."""
    claims = tokens.find_claims(secret, token, type_=type_)
    if claims is None:
        return None
    rows = await database.fetch(_BY_TOKEN, {"sign_in": claims.sign_in, "user_id": claims.user_id})
    if not rows:
        return None
    user_id, email, is_admin, sign_in_id = rows[0]
    return Actor(
        user_id=user_id,
        email=email,
        is_admin=bool(is_admin),
        scopes=effective_scopes(SCOPES, is_admin=is_admin),
        sign_in_id=sign_in_id,
        address=address,
    )


def _is_good() -> ColumnElement[bool]:
    return SignIn.revoked_at.is_(None) & (SignIn.expires_at > now_plus())


async def _end(session: AsyncSession, actor: Actor, *conditions: ColumnElement[bool]) -> bool:
    """End those of the actor's sign-ins that have not ended yet; says whether there was any."""
    ending = update(SignIn).where(SignIn.user_id == actor.user_id, _is_good(), *conditions)
    ended = list(await session.scalars(ending.values(revoked_at=now_plus()).returning(SignIn.public_id)))
    if ended:
        subject = ended[0] if len(ended) == 1 else None
        await audit.record(
            session, actor, "session.ended", user_id=actor.user_id, subject=subject, count=len(ended)
        )
    return bool(ended)


def _tokens(
    settings: Settings, claims: Claims, *, secret: bytes, refresh_token: str, lifetime: timedelta
) -> Tokens:
    access = min(timedelta(minutes=settings.access_token_minutes), lifetime)
    return Tokens(
        access_token=tokens.sign_token(secret, claims, type_="access", lifetime=access),
        refresh_token=refresh_token,
        session_token=tokens.sign_token(secret, claims, type_="session", lifetime=lifetime),
        expires_in_seconds=int(access.total_seconds()),
        session_seconds=int(lifetime.total_seconds()),
    )


_BY_TOKEN = HotQuery(
    select(User.id, User.email, User.is_admin, SignIn.id)
    .join(SignIn, SignIn.user_id == User.id)
    .where(
        SignIn.public_id == bindparam("sign_in", type_=SignIn.public_id.type),
        User.id == bindparam("user_id", type_=User.id.type),
        _is_good(),
        User.is_active(),
    )
)
