"""Alembic's entry: migrate over the connection that `mediakeep.db.migrate` hands in."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from mediakeep.db import base
from mediakeep.db.migrate import include_object


def render_type(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own column types by their names instead of spelling out what each engine makes of them."""
    if kind != "type":
        return False
    if isinstance(item, base.UTCDateTime):
        name = "UTCDateTime()"
    else:
        name = {repr(base.BigInt): "BigInt", repr(base.Json): "Json"}.get(repr(item), "")
    if name:
        autogen.imports.add(f"from mediakeep.db.base import {name.removesuffix('()')}")
    return name or False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=base.Base.metadata,
    include_object=include_object,
    render_item=render_type,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction is the one
)
context.run_migrations()
