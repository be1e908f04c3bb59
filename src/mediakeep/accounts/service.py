"""Accounts, their sign-ins and their API keys."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy import ColumnElement, Text, bindparam, cast, delete, exists, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import tokens
from mediakeep.accounts.actor import SCOPES, Actor, Scope
from mediakeep.accounts.emails import fold_email
from mediakeep.accounts.models import ApiKey, SignIn, User
from mediakeep.accounts.secrets import is_setup_code
from mediakeep.accounts.tokens import Claims, TokenType
from mediakeep.db import Database, HotQuery, insert_into, now_plus
from mediakeep.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, PermissionDenied
from mediakeep.settings import Settings

log = structlog.get_logger(__name__)

WRONG_LOGIN = "Incorrect email or password"

_KEY_USE_SECONDS = 60

_NOTE_SECONDS = 1

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


@dataclass(frozen=True, kw_only=True)
class KeyHolder:
    """Whom an API key stands for, and whether its use is to be noted again."""

    actor: Actor
    use_is_due: bool


# Accounts


async def check_registration(
    session: AsyncSession,
    settings: Settings,
    *,
    secret: bytes,
    setup_code: str | None = None,
    caller: Actor | None = None,
) -> None:
    """Raise `PermissionDenied` unless somebody may register now; cheap, before a password is hashed."""
    if not await has_users(session):
        if not settings.is_local and not is_setup_code(secret, setup_code or ""):
            raise PermissionDenied(
                "The first account needs the set-up code that the server printed when it started."
            )
        return
    if settings.registration == "closed" and not (caller and caller.is_admin):
        raise PermissionDenied("Registration is closed. Ask an admin for an account.")


async def register(
    session: AsyncSession,
    settings: Settings,
    *,
    email: str,
    password_hash: str,
    secret: bytes,
    setup_code: str | None = None,
    caller: Actor | None = None,
) -> User:
    """Create an account for whoever asks, if they may. The first one of a server is its admin.

    Raises `PermissionDenied` while registration is closed, also for whoever loses the race to be the first;
    `Conflict` for a known e-mail address; `InvalidInput` for what is none.
    """
    await check_registration(session, settings, secret=secret, setup_code=setup_code, caller=caller)
    if not await has_users(session):
        founder = await _add(
            session, email=email, password_hash=password_hash, is_admin=True, is_founder=True
        )
        if founder:
            return founder
        await check_registration(session, settings, secret=secret, caller=caller)
    return await _add_or_conflict(session, email=email, password_hash=password_hash, is_admin=False)


async def add_user(session: AsyncSession, *, email: str, password_hash: str, is_admin: bool) -> User:
    """Create an account without asking who wants it; the first one is an admin. Raises `Conflict`, `InvalidInput`."""
    if not await has_users(session):
        founder = await _add(
            session, email=email, password_hash=password_hash, is_admin=True, is_founder=True
        )
        if founder:
            return founder
    return await _add_or_conflict(session, email=email, password_hash=password_hash, is_admin=is_admin)


async def has_users(session: AsyncSession) -> bool:
    return bool(await session.scalar(select(exists().select_from(User))))


async def list_users(session: AsyncSession) -> list[User]:
    """All of them, oldest first."""
    return list(await session.scalars(select(User).order_by(User.id)))


async def get_user(session: AsyncSession, user_id: int) -> User:
    """Raises `NotFound`."""
    user = await session.get(User, user_id)
    if user is None:
        raise NotFound("User not found")
    return user


async def get_user_by_email(session: AsyncSession, email: str) -> User:
    """Raises `NotFound`, `InvalidInput`."""
    user = await session.scalar(select(User).where(User.email_folded == fold_email(email)))
    if user is None:
        raise NotFound(f"There is no user {email}.")
    return user


async def set_password(
    session: AsyncSession, user_id: int, *, password_hash: str, keep_sign_in_id: int | None = None
) -> None:
    """Replace the password and end all sign-ins but the one named; API keys stay."""
    await session.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))
    theirs = [SignIn.user_id == user_id]
    if keep_sign_in_id is not None:
        theirs.append(SignIn.id != keep_sign_in_id)
    await _revoke_sign_ins(session, *theirs)


async def disable_user(session: AsyncSession, user_id: int) -> None:
    """Shut somebody out at once, with all tokens and keys; what is theirs stays."""
    await session.execute(
        update(User).where(User.id == user_id, User.disabled_at.is_(None)).values(disabled_at=now_plus())
    )
    await _revoke_sign_ins(session, SignIn.user_id == user_id)


async def enable_user(session: AsyncSession, user_id: int) -> None:
    await session.execute(update(User).where(User.id == user_id).values(disabled_at=None))


async def _add_or_conflict(session: AsyncSession, *, email: str, password_hash: str, is_admin: bool) -> User:
    user = await _add(session, email=email, password_hash=password_hash, is_admin=is_admin, is_founder=False)
    if user is None:
        raise Conflict("There is an account with this e-mail address already.")
    return user


async def _add(
    session: AsyncSession, *, email: str, password_hash: str, is_admin: bool, is_founder: bool
) -> User | None:
    """The new user, or None when the address is taken or somebody else is the founder."""
    values = {
        "email": email.strip(),
        "email_folded": fold_email(email),
        "password_hash": password_hash,
        "is_admin": is_admin,
        "is_founder": is_founder,
    }
    adding = insert_into(session, User).values(values).on_conflict_do_nothing().returning(User)
    return await session.scalar(adding)


# Sign-ins


async def find_credentials(session: AsyncSession, email: str) -> Credentials | None:
    """What a password is checked against; None for unknown and disabled accounts."""
    try:
        folded = fold_email(email)
    except InvalidInput:
        return None
    row = (
        await session.execute(
            select(User.id, User.password_hash).where(User.email_folded == folded, User.disabled_at.is_(None))
        )
    ).one_or_none()
    return row and Credentials(user_id=row.id, password_hash=row.password_hash)


async def sign_in(
    session: AsyncSession,
    settings: Settings,
    credentials: Credentials,
    *,
    secret: bytes,
    user_agent: str = "",
) -> Tokens:
    """Begin a sign-in. Raises `NotAuthenticated` when password or account changed since the password was proved."""
    unchanged = await session.scalar(
        select(User.id)
        .where(
            User.id == credentials.user_id,
            User.password_hash == credentials.password_hash,
            User.disabled_at.is_(None),
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
    claims = Claims(user_id=credentials.user_id, sign_in=row.public_id)
    lifetime = timedelta(days=settings.session_days)
    return _tokens(settings, claims, secret=secret, refresh_token=refresh_token.text, lifetime=lifetime)


async def refresh(
    session: AsyncSession, settings: Settings, refresh_token: str, *, secret: bytes
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
            .where(SignIn.family_hash == tokens.digest_of(family), _sign_in_is_good())
            .with_for_update(of=SignIn)
        )
    ).one_or_none()
    if found is None:
        return None
    sign_in_id, public_id, user_id, refresh_hash, expires_at, now = found
    if refresh_hash != tokens.digest_of(refresh_token):
        log.warning("sign_in.refresh_reused", user_id=user_id, sign_in_id=sign_in_id)
        await revoke_sign_in(session, sign_in_id)
        return None
    following = tokens.new_refresh_token(family)
    await session.execute(
        update(SignIn)
        .where(SignIn.id == sign_in_id)
        .values(refresh_hash=following.digest, last_used_at=now_plus())
    )
    claims = Claims(user_id=user_id, sign_in=public_id)
    return _tokens(settings, claims, secret=secret, refresh_token=following.text, lifetime=expires_at - now)


async def revoke_sign_in(session: AsyncSession, sign_in_id: int) -> None:
    await _revoke_sign_ins(session, SignIn.id == sign_in_id)


async def forget_ended_sign_ins(session: AsyncSession) -> None:
    """Remove sign-ins that ended a week ago or longer."""
    long_ago = now_plus(-_ENDED_SIGN_IN_SECONDS)
    await session.execute(
        delete(SignIn).where(or_(SignIn.expires_at < long_ago, SignIn.revoked_at < long_ago))
    )


async def find_actor_by_token(
    database: Database, token: str, *, secret: bytes, type_: TokenType = "access"
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
        scopes=_effective(SCOPES, is_admin=is_admin),
        sign_in_id=sign_in_id,
    )


def _sign_in_is_good() -> ColumnElement[bool]:
    return SignIn.revoked_at.is_(None) & (SignIn.expires_at > now_plus()) & User.disabled_at.is_(None)


async def _revoke_sign_ins(session: AsyncSession, *conditions: ColumnElement[bool]) -> None:
    await session.execute(
        update(SignIn).where(SignIn.revoked_at.is_(None), *conditions).values(revoked_at=now_plus())
    )


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


# API keys


async def create_api_key(
    session: AsyncSession,
    user_id: int,
    *,
    name: str,
    scopes: frozenset[Scope],
    expires_in_days: int | None = None,
    uploads_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which is told this once and never again."""
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
    return row, key.text


async def list_api_keys(session: AsyncSession, user_id: int | None = None) -> list[ApiKey]:
    """The keys of a user, or everybody's, that were not revoked, newest first."""
    keys = select(ApiKey).where(ApiKey.revoked_at.is_(None)).order_by(ApiKey.id.desc())
    if user_id is not None:
        keys = keys.where(ApiKey.user_id == user_id)
    return list(await session.scalars(keys))


async def revoke_api_key(session: AsyncSession, public_id: str, *, user_id: int | None = None) -> None:
    """Make a key worthless at once. Raises `NotFound`, also for keys of others when `user_id` is given."""
    mine = [ApiKey.public_id == public_id, ApiKey.revoked_at.is_(None)]
    if user_id is not None:
        mine.append(ApiKey.user_id == user_id)
    revoked = await session.scalar(
        update(ApiKey).where(*mine).values(revoked_at=now_plus()).returning(ApiKey.id)
    )
    if revoked is None:
        raise NotFound("API key not found")


async def find_actor_by_api_key(database: Database, key: str) -> KeyHolder | None:
    """Whom an API key stands for; None when it or its user is no good."""
    rows = await database.fetch(_BY_KEY, {"key_hash": tokens.digest_of(key)})
    if not rows:
        return None
    user_id, email, is_admin, api_key_id, listed, uploads_per_minute, use_is_due = rows[0]
    scopes = _effective(json.loads(listed), is_admin=is_admin)
    actor = Actor(
        user_id=user_id,
        email=email,
        is_admin="admin" in scopes,
        scopes=scopes,
        api_key_id=api_key_id,
        uploads_per_minute=uploads_per_minute,
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


def _effective(scopes: Iterable[Scope], *, is_admin: bool) -> frozenset[Scope]:
    """The scopes that count: nobody but an admin has `admin`, whatever a key once was given."""
    return frozenset(scope for scope in scopes if is_admin or scope != "admin")


_BY_TOKEN = HotQuery(
    select(User.id, User.email, User.is_admin, SignIn.id)
    .join(SignIn, SignIn.user_id == User.id)
    .where(
        SignIn.public_id == bindparam("sign_in", type_=SignIn.public_id.type),
        User.id == bindparam("user_id", type_=User.id.type),
        _sign_in_is_good(),
    )
)

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
        User.disabled_at.is_(None),
    )
)
