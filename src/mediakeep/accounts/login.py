"""Proving a password: limited, slower for those who guess, and never telling what was wrong."""

import asyncio
import hashlib
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit, limits, passwords, sign_ins
from mediakeep.accounts.actor import Caller
from mediakeep.accounts.emails import fold_email
from mediakeep.accounts.limits import Window
from mediakeep.accounts.models import User
from mediakeep.accounts.sign_ins import Credentials
from mediakeep.db import Database
from mediakeep.errors import InvalidInput, NotAuthenticated, Unavailable
from mediakeep.settings import Settings

_ACCOUNT_WINDOW_SECONDS = limits.LONGEST_WINDOW_SECONDS

_MAX_COUNTED = 1000

_MAX_DELAY_SECONDS = 4.0

#: Failed logins from one network in any 60 s, whosever accounts they were for.
_MAX_FROM_NETWORK = 100

#: Failed logins from one network that the audit log takes in a quarter of an hour: more would only fill it.
_MAX_NOTED = 100


async def prove_password(
    database: Database, settings: Settings, *, email: str, password: str, caller: Caller
) -> Credentials:
    """The account of whoever knows its password. Opens transactions of its own, none while it hashes.

    Every attempt is counted before the password is looked at, and uncounted when it was right, so that many at
    once are as limited as one after the other. Raises `RateLimited`, `NotAuthenticated`, `Unavailable`.
    """
    counted = await _count(database, settings, email=email, address=caller.address)
    for window in counted[:2]:
        window.require()
    await asyncio.sleep(_delay_seconds(counted[-1], settings))
    async with database.read() as session:
        credentials = await sign_ins.find_credentials(session, email)
    password_hash = credentials.password_hash if credentials else None
    try:
        is_right = await passwords.verify_password(password_hash, password)
    except Unavailable:
        await _uncount(database, counted)
        raise
    if not is_right or credentials is None:
        await _note_failure(database, caller, email=email)
        raise NotAuthenticated(sign_ins.WRONG_LOGIN)
    await _uncount(database, counted)
    if passwords.needs_rehash(credentials.password_hash):
        return await _rehash(database, credentials, password)
    return credentials


async def limit_by_address(database: Database, settings: Settings, *, what: str, address: str) -> None:
    """Count one `what` from this address. Raises `RateLimited` beyond the limit of logins."""
    async with database.write() as session:
        window = await limits.hit(
            session, _bucket(what, network_of(address)), limit=settings.logins_per_minute
        )
    window.require()


def network_of(address: str) -> str:
    """What one client can choose its addresses from: itself, or with IPv6 the 64 bits that it was given."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, 64), strict=False))
    return address


async def _count(database: Database, settings: Settings, *, email: str, address: str) -> tuple[Window, ...]:
    """Count the attempt: for the account at this network, for the network, and for the account from anywhere.

    The first two may refuse it: then that window comes last, and nothing is counted. The third only slows down, so
    that nobody can lock the account's owner out.
    """
    account, network, limit = _name_of(email), network_of(address), settings.logins_per_minute
    async with database.write() as session:
        here = await limits.hit(session, _bucket("login", account, network), limit=limit)
        if not here.allowed:
            return (here,)
        most = max(limit, _MAX_FROM_NETWORK) if limit else 0
        nearby = await limits.hit(session, _bucket("login.network", network), limit=most)
        if not nearby.allowed:
            await limits.take_back(session, here)
            return here, nearby
        anywhere = await limits.hit(
            session,
            _bucket("login", account),
            limit=_MAX_COUNTED if limit else 0,
            window_seconds=_ACCOUNT_WINDOW_SECONDS,
        )
    return here, nearby, anywhere


async def _uncount(database: Database, counted: tuple[Window, ...]) -> None:
    async with database.write() as session:
        await limits.take_back(session, *counted)


async def _note_failure(database: Database, caller: Caller, *, email: str) -> None:
    """Write the failed login down: whose account it was, if there is one, but not what was typed, maybe a password."""
    async with database.write() as session:
        noted = await limits.hit(
            session,
            _bucket("login.failed", network_of(caller.address)),
            limit=_MAX_NOTED,
            window_seconds=limits.LONGEST_WINDOW_SECONDS,
        )
        if noted.allowed:
            user_id = await _find_user_id(session, email)
            await audit.record(session, caller, "login.failed", user_id=user_id)


async def _find_user_id(session: AsyncSession, email: str) -> int | None:
    """Also of an account that is disabled."""
    try:
        folded = fold_email(email)
    except InvalidInput:
        return None
    found: int | None = await session.scalar(select(User.id).where(User.email_folded == folded))
    return found


def _name_of(email: str) -> str:
    try:
        return fold_email(email)
    except InvalidInput:
        return email.strip().casefold()


def _delay_seconds(anywhere: Window, settings: Settings) -> float:
    """Nothing for people who mistype; more and more when an account is guessed at from many addresses."""
    failed = anywhere.limit - anywhere.remaining - 1
    if not anywhere.limit or failed < settings.logins_per_minute:
        return 0.0
    return min(_MAX_DELAY_SECONDS, 0.1 * (failed - settings.logins_per_minute + 1))


def _bucket(*parts: str) -> str:
    """A name of fixed length, in which no address can be read."""
    return f"{parts[0]}:{hashlib.sha256('|'.join(parts).encode()).hexdigest()}"


async def _rehash(database: Database, credentials: Credentials, password: str) -> Credentials:
    password_hash = await passwords.hash_password(password)
    async with database.write() as session:
        await session.execute(
            update(User)
            .where(User.id == credentials.user_id, User.password_hash == credentials.password_hash)
            .values(password_hash=password_hash)
        )
    return Credentials(user_id=credentials.user_id, password_hash=password_hash)
