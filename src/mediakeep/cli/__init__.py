"""The command `mediakeep`."""

import socket
import sys

import click
from sqlalchemy.exc import DBAPIError

from mediakeep import __version__
from mediakeep.cli.accounts import key, print_audit, user
from mediakeep.cli.emulate import emulate
from mediakeep.cli.server import migrate, serve, settings, worker
from mediakeep.cli.tasks import tasks
from mediakeep.cli.upkeep import fsck, gc, recount, reindex
from mediakeep.cli.upload import upload
from mediakeep.errors import MediakeepError, SettingsError

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mediakeep")
def _commands() -> None:
    """Mediakeep: a media library and backend for generated media.

    Settings come from MEDIAKEEP_… variables, or from a TOML file that MEDIAKEEP_CONFIG names; `mediakeep settings`
    lists them.
    """


for _command in (
    serve,
    worker,
    migrate,
    settings,
    user,
    key,
    print_audit,
    upload,
    tasks,
    fsck,
    gc,
    recount,
    reindex,
    emulate,
):
    _commands.add_command(_command)


def main() -> None:
    """Run a command. Expected failures are one sentence on standard error and exit code 1."""
    try:
        _commands()
    except (SettingsError, MediakeepError) as error:
        _fail(str(error))
    except (ConnectionError, TimeoutError, socket.gaierror):
        _fail("The database that MEDIAKEEP_DATABASE_URL names does not answer.")
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0].rpartition(">: ")[2]
        _fail(f"The database that MEDIAKEEP_DATABASE_URL names cannot be used: {reason}.")


def _fail(sentence: str) -> None:
    click.echo(f"mediakeep: {sentence}", err=True)
    sys.exit(1)
