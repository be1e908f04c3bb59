"""Accounts: who may have one, who is an admin, and what shuts somebody out."""

from typing import Any

from sqlalchemy import bindparam, case, delete, exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit
from mediakeep.accounts.actor import SHELL, Actor, Caller
from mediakeep.accounts.emails import fold_email
from mediakeep.accounts.models import ApiKey, SignIn, User
from mediakeep.accounts.secrets import is_setup_code
from mediakeep.db import insert_into, now_plus
from mediakeep.db.base import table_of
from mediakeep.errors import Conflict, NotAuthenticated, NotFound, PermissionDenied
from mediakeep.settings import Settings
from mediakeep.tasks import enqueue

_users = table_of(User).c

# Made once: every upload asks it.
_LOCK_USER = (
    select(_users.id)
    .where(_users.id == bindparam("user_id"), _users.gone_at.is_(None))
    .with_for_update(read=True)
)

ONLY_ADMIN = "This is the only admin; make another account an admin first."


async def check_registration(
    session: AsyncSession,
    settings: Settings,
    *,
    secret: bytes,
    caller: Caller,
    setup_code: str | None = None,
    from_this_machine: bool = False,
) -> None:
    """Raise `PermissionDenied` unless somebody may register now; cheap, before a password is hashed."""
    if not await has_users(session):
        trusted = settings.is_local and from_this_machine
        if not trusted and not is_setup_code(secret, setup_code or ""):
            raise PermissionDenied(
                "The first account needs the set-up code that the server printed when it started."
            )
        return
    if settings.registration == "closed" and not _is_admin(caller):
        raise PermissionDenied("Registration is closed. Ask an admin for an account.")


async def register(
    session: AsyncSession,
    settings: Settings,
    *,
    email: str,
    password_hash: str,
    secret: bytes,
    caller: Caller,
    setup_code: str | None = None,
    from_this_machine: bool = False,
) -> User:
    """Create an account for whoever asks, if they may. The first one of a server is its admin.

    Raises `PermissionDenied` while registration is closed, also for whoever loses the race to be the first;
    `Conflict` for a known e-mail address; `InvalidInput` for what is none.
    """
    await _lock_accounts(session, shared=True)
    await check_registration(
        session,
        settings,
        secret=secret,
        caller=caller,
        setup_code=setup_code,
        from_this_machine=from_this_machine,
    )
    if not await has_users(session):
        founder = await _add(
            session, caller, email=email, password_hash=password_hash, is_admin=True, is_founder=True
        )
        if founder:
            return founder
        await check_registration(session, settings, secret=secret, caller=caller)
    return await _add_or_conflict(session, caller, email=email, password_hash=password_hash, is_admin=False)


async def add_user(session: AsyncSession, *, email: str, password_hash: str, is_admin: bool) -> User:
    """Create an account from the shell; the first one is an admin. Raises `Conflict`, `InvalidInput`."""
    await _lock_accounts(session, shared=True)
    if not await has_users(session):
        founder = await _add(
            session, SHELL, email=email, password_hash=password_hash, is_admin=True, is_founder=True
        )
        if founder:
            return founder
    return await _add_or_conflict(session, SHELL, email=email, password_hash=password_hash, is_admin=is_admin)


async def has_users(session: AsyncSession) -> bool:
    return bool(await session.scalar(select(exists().where(User.gone_at.is_(None)))))


async def list_users(session: AsyncSession) -> list[User]:
    """All of them, oldest first."""
    return list(await session.scalars(select(User).where(User.gone_at.is_(None)).order_by(User.id)))


async def list_user_page(session: AsyncSession, *, limit: int, offset: int) -> tuple[list[User], int]:
    """A page of users, newest first, and how many there are in all."""
    there = User.gone_at.is_(None)
    total = await session.scalar(select(func.count()).select_from(User).where(there)) or 0
    newest = select(User).where(there).order_by(User.created_at.desc(), User.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total


async def get_user(session: AsyncSession, user_id: int) -> User:
    """Raises `NotFound`."""
    user = await session.scalar(select(User).where(User.id == user_id, User.gone_at.is_(None)))
    if user is None:
        raise NotFound("User not found")
    return user


async def get_user_by_email(session: AsyncSession, email: str) -> User:
    """Raises `NotFound`, `InvalidInput`."""
    user = await session.scalar(select(User).where(User.email_folded == fold_email(email)))
    if user is None:
        raise NotFound(f"There is no user {email}.")
    return user


async def lock_user(session: AsyncSession, user_id: int) -> None:
    """Keep a user from being deleted until the commit: for whatever becomes theirs.

    Raises `NotAuthenticated` when that has happened, which a request that was under way may find.
    """
    if await session.scalar(_LOCK_USER, {"user_id": user_id}) is None:
        raise NotAuthenticated


async def set_password(
    session: AsyncSession,
    caller: Caller,
    user_id: int,
    *,
    password_hash: str,
    keep_sign_in_id: int | None = None,
    revoke_keys: bool = False,
) -> None:
    """Replace the password and end all sign-ins but the one named; API keys stay unless they are to go, too.

    Raises `NotFound`.
    """
    user = await _get_for_change(session, user_id)
    user.password_hash = password_hash
    await session.flush()
    await _shut_out(session, user_id, keep_sign_in_id=keep_sign_in_id, revoke_keys=revoke_keys)
    await audit.record(session, caller, "password.changed", user_id=user_id, revoked_keys=revoke_keys)


async def disable_user(session: AsyncSession, caller: Caller, user_id: int) -> None:
    """Shut somebody out at once, with all tokens and keys; what is theirs stays.

    Raises `NotFound`, `Conflict` for the only admin of others.
    """
    await _lock_accounts(session)
    user = await _get_for_change(session, user_id)
    if user.disabled_at is not None:
        return
    await _check_that_an_admin_remains(session, user)
    await _change(session, user_id, disabled_at=now_plus())
    await _shut_out(session, user_id)
    await audit.record(session, caller, "user.disabled", user_id=user_id)


async def enable_user(session: AsyncSession, caller: Caller, user_id: int) -> None:
    """Let somebody in again. Raises `NotFound`."""
    user = await _get_for_change(session, user_id)
    if user.disabled_at is not None:
        await _change(session, user_id, disabled_at=None)
        await audit.record(session, caller, "user.enabled", user_id=user_id)


async def promote_user(session: AsyncSession, caller: Caller, user_id: int) -> None:
    """Make somebody an admin. Raises `NotFound`."""
    user = await _get_for_change(session, user_id)
    if not user.is_admin:
        await _change(session, user_id, is_admin=True)
        await audit.record(session, caller, "user.promoted", user_id=user_id)


async def demote_user(session: AsyncSession, caller: Caller, user_id: int) -> None:
    """Make an admin an ordinary user. Raises `NotFound`, `Conflict` for the only admin of others."""
    await _lock_accounts(session)
    user = await _get_for_change(session, user_id)
    if not user.is_admin:
        return
    await _check_that_an_admin_remains(session, user)
    await _change(session, user_id, is_admin=False)
    await audit.record(session, caller, "user.demoted", user_id=user_id)


async def remove_user(session: AsyncSession, caller: Caller, user_id: int) -> None:
    """Delete a user with everything of theirs. Raises `NotFound`, `Conflict` for the only admin of others.

    With this commit they are shut out, the address may be registered anew, and readers see nothing of theirs; a task
    removes what they owned in small transactions, and the row last.
    """
    await _lock_accounts(session)
    user = await _get_for_change(session, user_id)
    await _check_that_an_admin_remains(session, user)
    await audit.record(session, caller, "user.deleted", user_id=user_id)
    await _shut_out(session, user_id, revoke_keys=True)
    await _change(
        session,
        user_id,
        gone_at=now_plus(),
        email="",
        email_folded=f"gone {user_id}",  # no address has a space
        password_hash="",
        is_admin=False,
        is_founder=False,
    )
    await enqueue(session, "assets.remove_user", {"id": user_id})


async def delete_row(session: AsyncSession, user_id: int) -> None:
    """Delete a user who is gone and owns nothing any more; sign-ins, keys and tags go along."""
    await session.execute(delete(User).where(User.id == user_id, User.gone_at.is_not(None)))


async def _lock_accounts(session: AsyncSession, *, shared: bool = False) -> None:
    """Keep others from taking accounts or admins away until the commit; not shared, also from adding accounts.

    Two admins who demote each other at once, or a registration beside the deletion of the last account, would leave a
    server without an admin. SQLite has one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        await session.execute(text(f"SELECT {lock}(hashtextextended('accounts', 0))"))


async def _check_that_an_admin_remains(session: AsyncSession, user: User) -> None:
    """Raise `Conflict` if others would be left without an admin who can log in."""
    if not user.is_admin or user.disabled_at is not None:
        return
    admins = func.count(case((User.is_admin & User.is_active(), 1)))
    others = select(func.count(), admins).where(User.id != user.id, User.gone_at.is_(None))
    there, with_rights = (await session.execute(others)).one()
    if there and not with_rights:
        raise Conflict(ONLY_ADMIN)


async def _get_for_change(session: AsyncSession, user_id: int) -> User:
    there = select(User).where(User.id == user_id, User.gone_at.is_(None))
    user = await session.scalar(there.with_for_update().execution_options(populate_existing=True))
    if user is None:
        raise NotFound("User not found")
    return user


async def _change(session: AsyncSession, user_id: int, **columns: Any) -> None:  # values of the columns
    await session.execute(update(User).where(User.id == user_id).values(columns))


async def _shut_out(
    session: AsyncSession, user_id: int, *, keep_sign_in_id: int | None = None, revoke_keys: bool = False
) -> None:
    """End a user's sign-ins but the one named, and revoke their API keys if they are to go, too."""
    theirs = [SignIn.user_id == user_id, SignIn.revoked_at.is_(None)]
    if keep_sign_in_id is not None:
        theirs.append(SignIn.id != keep_sign_in_id)
    await session.execute(update(SignIn).where(*theirs).values(revoked_at=now_plus()))
    if revoke_keys:
        keys = update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        await session.execute(keys.values(revoked_at=now_plus()))


def _is_admin(caller: Caller) -> bool:
    return isinstance(caller, Actor) and caller.is_admin


async def _add_or_conflict(
    session: AsyncSession, caller: Caller, *, email: str, password_hash: str, is_admin: bool
) -> User:
    user = await _add(
        session, caller, email=email, password_hash=password_hash, is_admin=is_admin, is_founder=False
    )
    if user is None:
        raise Conflict("There is an account with this e-mail address already.")
    return user


async def _add(
    session: AsyncSession,
    caller: Caller,
    *,
    email: str,
    password_hash: str,
    is_admin: bool,
    is_founder: bool,
) -> User | None:
    """The new user, or None when the address is taken or somebody else is the founder."""
    values = {
        "email": email.strip(),
        "email_folded": fold_email(email),
        "password_hash": password_hash,
        "is_admin": is_admin,
        "is_founder": is_founder,
    }
    adding = insert_into(session, User).values(values).on_conflict_do_nothing().returning(User.id)
    user_id: int | None = await session.scalar(adding)
    if user_id is None:
        return None
    await audit.record(session, caller, "user.registered", user_id=user_id, is_admin=is_admin)
    return await session.get(User, user_id)
