"""`mediakeep emulate …`: stand-ins for services that Mediakeep talks to."""

import os
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class _Emulators(click.Group):
    """Loads a stand-in when it is asked for: no other command needs any of it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's
        return ["replicate"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's
        return _replicate() if cmd_name == "replicate" else None


@click.group(cls=_Emulators)
def emulate() -> None:
    """Stand-ins for services, to test against."""


def _replicate() -> click.Command:
    from mediakeep.emulators.replicate import Options

    address = [
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.Option(
            ["--port"],
            default=8900,
            show_default=True,
            type=click.IntRange(0, 65535),
            help="Port to listen on; 0 takes a free one.",
        ),
    ]
    switches = [_flag(name, field) for name, field in Options.model_fields.items()]
    return click.Command("replicate", callback=_serve_replicate, params=[*address, *switches], help=_HELP)


_HELP = """Serve a stand-in for Replicate's HTTP API.

Point a client to the address that is printed instead of https://api.replicate.com/v1. Predictions end in real media
and call their webhooks, nothing is paid, and nothing is kept when it ends.

The switches hold for every prediction. `PUT /emulator/options` turns them while it runs, `POST /emulator/next` for one
prediction, and `GET /emulator/log` tells what happened.
"""


def _serve_replicate(*, host: str, port: int, **switches: Any) -> None:  # what the switches' types are
    from pydantic import ValidationError

    from mediakeep.emulators.replicate import Options, address_of, listen, serve

    try:
        options = Options(**switches)
    except ValidationError as error:
        first = error.errors()[0]
        raise click.BadParameter(first["msg"], param_hint=_flag_name(str(first["loc"][0]))) from error
    try:
        listener = listen(host, port)
    except OSError as error:
        raise click.ClickException(
            f"{host}:{port} cannot be listened on: {os.strerror(error.errno or 0)}."
        ) from error
    with listener:
        click.echo(f"Replicate's API, emulated, on {address_of(listener)}/v1", err=True)
        click.echo(f"API token: {options.token}", err=True)
        click.echo(f"Secret of webhooks: {options.webhook_secret}", err=True)
        serve(options, listener)


def _flag_name(name: str) -> str:
    return "--" + name.removesuffix("_seconds").replace("_", "-")


def _flag(name: str, field: "FieldInfo") -> click.Option:
    """The option of the command that turns this switch."""
    names = [_flag_name(name), name]
    if field.annotation is bool:
        return click.Option(names, is_flag=True, help=field.description)
    several = get_origin(field.annotation) is tuple
    kind = get_args(field.annotation)[0] if several else field.annotation
    choices = _choices(kind)
    plain = kind if kind in {str, float} else int  # the only others may be absent
    return click.Option(
        names,
        type=click.Choice(choices) if choices else plain,
        default=field.default,
        multiple=several,
        metavar="SECONDS" if name.endswith("_seconds") else None,
        show_default=field.default not in {None, ""},
        help=f"{field.description}  May be repeated." if several else field.description,
    )


def _choices(kind: Any) -> list[str]:  # a type, or what typing makes of several
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for part in get_args(kind) for choice in _choices(part)]
