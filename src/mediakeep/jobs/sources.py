"""The inputs of a job that are this library's own assets: which they are, and their files for providers."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from mediakeep.accounts.actor import Actor
from mediakeep.assets import persona_media
from mediakeep.assets.served import Served, find_generation, find_served
from mediakeep.errors import InvalidInput, NotFound
from mediakeep.jobs.providers.base import RefusedByProvider, SourceFile
from mediakeep.jobs.values import texts_in
from mediakeep.library import Library

_ID = r"(?P<id>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_ASSET = re.compile(rf"(?:/legacy)?/api/v2/assets/{_ID}")
_GENERATION = re.compile(rf"/api/v1/files/images/{_ID}(?:\.[a-z]{{1,5}})?")
_MEDIA = re.compile(r"/media/download/(?P<id>[0-9]{1,18})")

_NOT_FOUND: Final = "Asset not found"

_MOST_SOURCES = 100
_LONGEST_ADDRESS = 2048


async def find(library: Library, actor: Actor, values: Mapping[str, Any], bases: set[str]) -> dict[str, str]:
    """The addresses in the inputs that are this library's own, each with what it stands for: "asset:<id>".

    `bases` are the addresses under which this server is known. Raises `InvalidInput`, naming the input, for what is not
    there or not the caller's to see, and for an address of this server that is no file's.
    """
    sources: dict[str, str] = {}
    for path, text in texts_in(values):
        way = None if text in sources or not _is_address(text) else _way_to(text, bases)
        if way is None:
            continue
        if len(sources) == _MOST_SOURCES:
            raise InvalidInput(f"A job has at most {_MOST_SOURCES} assets as inputs.", field=path)
        try:
            sources[text] = await _named_by(library, actor, way)
        except NotFound as error:
            raise InvalidInput(error.detail, field=path) from error
    return sources


def _is_address(text: str) -> bool:
    """And not a sentence that begins with one."""
    return text[:4].lower() == "http" and len(text) <= _LONGEST_ADDRESS and not re.search(r"\s", text)


def _way_to(address: str, bases: Iterable[str]) -> str | None:
    """Where below one of the bases an address leads, however it is spelt; None where it leads elsewhere."""
    try:
        given = httpx.URL(address)
    except httpx.InvalidURL:
        return None
    for base in map(httpx.URL, bases):
        above = base.path.rstrip("/")
        if (given.host, given.port) == (base.host, base.port) and given.path.startswith(f"{above}/"):
            return given.path[len(above) :]
    return None


async def _named_by(library: Library, actor: Actor, way: str) -> str:
    """What a path of this server names. Raises `NotFound`."""
    if found := _MEDIA.fullmatch(way):
        media = await persona_media.find(library.database, actor, int(found["id"]))
        if media is None:
            raise NotFound(_NOT_FOUND)
        source = f"asset:{media.public_id}"
    elif found := _GENERATION.fullmatch(way):
        source = f"generation:{found['id'].lower()}"
    elif found := _ASSET.fullmatch(way):
        source = f"asset:{found['id'].lower()}"
    else:
        raise NotFound("This is an address of this server, but not that of an asset's file.")
    await _find_served(library, actor, source)
    return source


async def _find_served(library: Library, actor: Actor, source: str) -> Served:
    """Raises `NotFound` for what is not there, or private and not the actor's: an admin's jobs take no more than others'."""
    kind, _, public_id = source.partition(":")
    find = find_generation if kind == "generation" else find_served
    served = await find(library.database, public_id)
    if served is None or not (served.visibility == "public" or served.owner_id == actor.user_id):
        raise NotFound(_NOT_FOUND)
    return served


@asynccontextmanager
async def opened(library: Library, actor: Actor, source: str) -> AsyncIterator[SourceFile]:
    """A source's file on this machine, while the block lasts. Raises `RefusedByProvider` where it has gone."""
    try:
        served = await _find_served(library, actor, source)
    except NotFound as error:
        raise RefusedByProvider("An asset that is an input is not there any more.") from error
    async with library.store.local_copy(served.key) as path:
        yield SourceFile(
            path=path,
            name=f"{served.name[:80]}.{served.format}",
            media_type=served.media_type,
            size=served.size,
            sha256=served.sha256,
        )
