"""`mediakeep user …` and `mediakeep key …`: accounts and API keys, straight in the database."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import click

from mediakeep.accounts import passwords, service
from mediakeep.accounts.actor import SCOPES, Scope
from mediakeep.db import Database, open_database
from mediakeep.db.migrate import is_current, migrate
from mediakeep.errors import SettingsError
from mediakeep.settings import load_settings

_T = TypeVar("_T")


@click.group()
def user() -> None:
    """Accounts."""


@user.command("add")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Let the account act as an admin; the first one always may.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add_user(email: str, *, admin: bool, password_stdin: bool) -> None:
    """Create an account."""
    password = _ask_password(from_stdin=password_stdin)

    async def work(database: Database) -> str:
        password_hash = await passwords.hash_password(password)
        async with database.write() as session:
            added = await service.add_user(session, email=email, password_hash=password_hash, is_admin=admin)
        return f"Created {'the admin' if added.is_admin else 'the user'} {added.email}."

    click.echo(_run(work))


@user.command("list")
def list_users() -> None:
    """List the accounts."""

    async def work(database: Database) -> list[tuple[str, ...]]:
        async with database.read() as session:
            return [
                (
                    row.email,
                    "admin" if row.is_admin else "user",
                    "disabled" if row.disabled_at else "active",
                    _day(row.created_at),
                )
                for row in await service.list_users(session)
            ]

    _print_table(_run(work))


@user.command("passwd")
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def set_password(email: str, *, password_stdin: bool) -> None:
    """Set an account's password and end its sign-ins."""
    password = _ask_password(from_stdin=password_stdin)

    async def work(database: Database) -> None:
        password_hash = await passwords.hash_password(password)
        async with database.write() as session:
            found = await service.get_user_by_email(session, email)
            await service.set_password(session, found.id, password_hash=password_hash)

    _run(work)
    click.echo(f"Changed the password of {email}.")


@user.command("disable")
@click.argument("email")
def disable_user(email: str) -> None:
    """Shut an account out at once, with its tokens and keys; what it owns stays."""

    async def work(database: Database) -> None:
        async with database.write() as session:
            await service.disable_user(session, (await service.get_user_by_email(session, email)).id)

    _run(work)
    click.echo(f"Disabled {email}.")


@user.command("enable")
@click.argument("email")
def enable_user(email: str) -> None:
    """Let a disabled account in again."""

    async def work(database: Database) -> None:
        async with database.write() as session:
            await service.enable_user(session, (await service.get_user_by_email(session, email)).id)

    _run(work)
    click.echo(f"Enabled {email}.")


@click.group()
def key() -> None:
    """API keys."""


@key.command("create")
@click.argument("email")
@click.option("--name", default="shell", show_default=True, help="What the key is for.")
@click.option("--scope", "scopes", default="read,write", show_default=True, help="Of read, write and admin.")
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Days until it expires; never by default.")
@click.option(
    "--uploads-per-minute", type=click.IntRange(0, 100_000), help="Instead of the server's limit; 0 is none."
)
def create_key(
    email: str, *, name: str, scopes: str, expires_days: int | None, uploads_per_minute: int | None
) -> None:
    """Create an API key and print it. It is not shown again."""
    chosen = _parse_scopes(scopes)

    async def work(database: Database) -> str:
        async with database.write() as session:
            owner = await service.get_user_by_email(session, email)
            _, text = await service.create_api_key(
                session,
                owner.id,
                name=name,
                scopes=chosen,
                expires_in_days=expires_days,
                uploads_per_minute=uploads_per_minute,
            )
        return text

    click.echo(_run(work))


@key.command("list")
@click.argument("email", required=False)
def list_keys(email: str | None) -> None:
    """List the API keys of an account, or of all."""

    async def work(database: Database) -> list[tuple[str, ...]]:
        async with database.read() as session:
            owner = await service.get_user_by_email(session, email) if email else None
            emails = {row.id: row.email for row in await service.list_users(session)}
            return [
                (
                    row.public_id,
                    f"{row.prefix}…",
                    emails[row.user_id],
                    row.name,
                    ",".join(row.scopes),
                    f"expires {_day(row.expires_at)}",
                    f"used {_day(row.last_used_at)}",
                )
                for row in await service.list_api_keys(session, owner.id if owner else None)
            ]

    _print_table(_run(work))


@key.command("revoke")
@click.argument("id")
def revoke_key(id: str) -> None:  # noqa: A002 the argument's name
    """Make the API key with this id worthless at once."""

    async def work(database: Database) -> None:
        async with database.write() as session:
            await service.revoke_api_key(session, id)

    _run(work)
    click.echo(f"Revoked {id}.")


def _run(work: Callable[[Database], Awaitable[_T]]) -> _T:
    """Do the work on the database of the settings; SQLite's tables are made where there are none."""
    settings = load_settings()
    os.umask(0o077)

    async def run() -> _T:
        database = open_database(settings)
        try:
            if database.is_sqlite:
                await migrate(database)
            elif not await is_current(database):
                raise SettingsError(
                    "The database has another version's schema; run `mediakeep migrate` first."
                )
            return await work(database)
        except OSError as error:
            raise SettingsError("The database that MEDIAKEEP_DATABASE_URL names does not answer.") from error
        finally:
            await database.close()

    return asyncio.run(run())


def _ask_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _parse_scopes(given: str) -> frozenset[Scope]:
    words = {word.strip() for word in given.split(",")}
    if not words <= set(SCOPES):
        raise click.BadParameter(
            "it must be of read, write and admin, separated by commas", param_hint="--scope"
        )
    return frozenset(scope for scope in SCOPES if scope in words)


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _day(time: datetime | None) -> str:
    return time.date().isoformat() if time else "never"
