"""`mediakeep user …`, `key …` and `audit`: accounts and API keys, straight in the database."""

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime

import click
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit, keys, passwords, service
from mediakeep.accounts.actor import SCOPES, SHELL, Caller, Scope
from mediakeep.cli.direct import print_table, run_on_database
from mediakeep.db import Database


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

    click.echo(run_on_database(work))


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

    print_table(run_on_database(work))


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
            await service.set_password(session, SHELL, found.id, password_hash=password_hash)

    run_on_database(work)
    click.echo(f"Changed the password of {email}.")


@user.command("disable")
@click.argument("email")
def disable_user(email: str) -> None:
    """Shut an account out at once, with its tokens and keys; what it owns stays."""
    _do(service.disable_user, email)
    click.echo(f"Disabled {email}.")


@user.command("enable")
@click.argument("email")
def enable_user(email: str) -> None:
    """Let a disabled account in again."""
    _do(service.enable_user, email)
    click.echo(f"Enabled {email}.")


@user.command("promote")
@click.argument("email")
def promote_user(email: str) -> None:
    """Make an account an admin."""
    _do(service.promote_user, email)
    click.echo(f"{email} is an admin.")


@user.command("demote")
@click.argument("email")
def demote_user(email: str) -> None:
    """Make an admin an ordinary user."""
    _do(service.demote_user, email)
    click.echo(f"{email} is an ordinary user.")


@user.command("delete")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_user(email: str, *, yes: bool) -> None:
    """Delete an account with everything that it owns. It is gone at once; a worker removes the files."""
    if not yes:
        click.confirm(f"Delete {email} with everything of theirs, for good?", abort=True, err=True)
    _do(service.remove_user, email)
    click.echo(f"Deleted {email}.")


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
            _, text = await keys.create_api_key(
                session,
                SHELL,
                owner.id,
                name=name,
                scopes=chosen,
                expires_in_days=expires_days,
                uploads_per_minute=uploads_per_minute,
            )
        return text

    click.echo(run_on_database(work))


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
                for row in await keys.list_api_keys(session, owner.id if owner else None)
            ]

    print_table(run_on_database(work))


@key.command("revoke")
@click.argument("id")
def revoke_key(id: str) -> None:  # noqa: A002 the argument's name
    """Make the API key with this id worthless at once."""

    async def work(database: Database) -> None:
        async with database.write() as session:
            await keys.revoke_api_key(session, SHELL, id)

    run_on_database(work)
    click.echo(f"Revoked {id}.")


@click.command("audit")
@click.option("--action", type=click.Choice(audit.ACTIONS), help="Acts of this kind only.")
@click.option("--user", "email", help="Acts of or upon this account only, by its address.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
def print_audit(action: str | None, email: str | None, *, limit: int) -> None:
    """Print what happened to accounts, newest first: when, what, who did it, to whom, from where, and more."""

    async def work(database: Database) -> list[tuple[str, ...]]:
        async with database.read() as session:
            owner = await service.get_user_by_email(session, email) if email else None
            emails = {row.id: row.email for row in await service.list_users(session)}
            entries, _ = await audit.list_page(
                session, action=action, user_id=owner.id if owner else None, limit=limit
            )

        def named(user_id: int | None) -> str:
            return "-" if user_id is None else emails.get(user_id, f"user {user_id}")

        return [
            (
                f"{entry.created_at:%Y-%m-%dT%H:%M:%SZ}",
                entry.action,
                named(entry.actor_id),
                named(entry.user_id),
                entry.address or "-",
                entry.subject or "-",
                json.dumps(entry.details),
            )
            for entry in entries
        ]

    print_table(run_on_database(work))


def _do(act: Callable[[AsyncSession, Caller, int], Awaitable[None]], email: str) -> None:
    """Do something to the account with this address."""

    async def work(database: Database) -> None:
        async with database.write() as session:
            await act(session, SHELL, (await service.get_user_by_email(session, email)).id)

    run_on_database(work)


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


def _day(time: datetime | None) -> str:
    return time.date().isoformat() if time else "never"
