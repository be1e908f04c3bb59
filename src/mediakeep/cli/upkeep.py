"""`mediakeep fsck`, `gc` and `recount`: checking the library, and clearing away what crashes left."""

import asyncio
import sys
from typing import Final

import click

from mediakeep import features
from mediakeep.assets.recount import Difference
from mediakeep.assets.recount import recount as count_anew
from mediakeep.cli.direct import run_on_database
from mediakeep.db.migrate import ANOTHER_VERSION, is_current
from mediakeep.errors import SettingsError
from mediakeep.files.fsck import check_library
from mediakeep.files.identity import check_store
from mediakeep.files.sweep import Swept, sweep
from mediakeep.library import open_library
from mediakeep.logs import configure_logging
from mediakeep.search.build import rebuild
from mediakeep.settings import load_settings

_FEATURES = features.metadata  # the check looks at whatever refers to files


@click.command()
@click.option("--verify-content", is_flag=True, help="Read every file and compare its hash; takes long.")
@click.option(
    "--repair", is_flag=True, help="Remove what nothing refers to. Lost content cannot be repaired."
)
def fsck(*, verify_content: bool, repair: bool) -> None:
    """Check that every file is there and whole, and that nothing else is. Exit code 0 where nothing is wrong."""
    settings = load_settings()
    configure_logging(settings)

    async def work() -> int:
        problems = 0
        async with open_library(settings) as library:
            if not await is_current(library.database):
                raise SettingsError(ANOTHER_VERSION)
            await check_store(library)
            async for problem in check_library(library, verify_content=verify_content, repair=repair):
                click.echo(f"{problem.kind}: {problem.subject}{' (repaired)' if problem.repaired else ''}")
                problems += not problem.repaired
        return problems

    problems = asyncio.run(work())
    click.echo("Nothing is wrong." if not problems else f"{problems} problems.")
    sys.exit(bool(problems))


@click.command()
def gc() -> None:
    """Clear away what crashes left behind, as the sweep does by itself."""
    settings = load_settings()
    configure_logging(settings)

    async def work() -> Swept:
        async with open_library(settings) as library:
            if not await is_current(library.database):
                raise SettingsError(ANOTHER_VERSION)
            await check_store(library)
            return await sweep(library)

    swept = asyncio.run(work())
    click.echo(
        f"Removed {swept.scratch_files} temporary files, {swept.unused_files} unused files and {swept.deleted} "
        f"orphans; noted {swept.noted} for the next time."
    )


@click.command()
@click.option("--fix", is_flag=True, help="Correct what differs.")
def recount(*, fix: bool) -> None:
    """Count anew what users and projects have, and compare it with their counters. Exit code 0 where nothing is wrong."""
    differences = run_on_database(lambda database: count_anew(database, fix=fix))
    for one in differences:
        click.echo(f"{_SCOPES[one.scope]} {one.known_as}, {_counter(one)}{' (fixed)' if fix else ''}")
    click.echo("Nothing is wrong." if not differences else f"{len(differences)} counters differ.")
    sys.exit(bool(differences) and not fix)


_SCOPES: Final = {"owner": "user", "project": "project"}


def _counter(one: Difference) -> str:
    """What it counts, and how it differs."""
    what = f"{one.dim} {one.val}".rstrip()
    if one.dim in {"files", "listed", "media"}:
        return f"{what}: {one.stored} of {one.stored_bytes} bytes, and there are {one.counted} of {one.counted_bytes}"
    return f"{what}: {one.stored}, and there are {one.counted}"


@click.command()
def reindex() -> None:
    """Make the full-text index anew from the assets, while servers go on."""
    rebuilt = run_on_database(rebuild)
    click.echo(f"Indexed {rebuilt.assets} assets; forgot {rebuilt.terms} words that none of them holds.")
