"""The bytes of an asset: the file itself, pictures of it, its thumbnail and waveform; without login while it is public.

Plain ASGI, in front of the framework: everything here is asked for far more often than all the rest.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fastapi import Request
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import QueryParams
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mediakeep.assets import cdn
from mediakeep.assets.served import Served, ServedAssets
from mediakeep.assets.text import clean_file_name
from mediakeep.db.base import as_public_id
from mediakeep.errors import InvalidInput, MediakeepError, NotFound, PermissionDenied, UndecodableMedia
from mediakeep.files.memory import Content, Memory
from mediakeep.files.renditions import (
    THUMBNAIL,
    WAVEFORM,
    WAVEFORM_PICTURE,
    Bounds,
    Recipe,
    RenditionCache,
    Source,
    picture_recipe,
    rendition_key,
)
from mediakeep.http import picture_query
from mediakeep.http.auth import address_of, find_actor, library_of
from mediakeep.http.files import Representation, missing, send_representation
from mediakeep.http.hot import HotAnswers
from mediakeep.http.middleware import has_body
from mediakeep.http.misses import MissLimit
from mediakeep.http.picture_query import PictureQuery
from mediakeep.http.problems import answer_of
from mediakeep.http.signing import EXPIRES, SIGNATURE, is_signed
from mediakeep.media.formats import get_format
from mediakeep.media.transform import MAX_SIDE
from mediakeep.settings import Settings
from mediakeep.storage import MissingObject

_NOT_FOUND = "Asset not found"

#: The long side of an image asset's thumbnail, pixels.
IMAGE_SIZES = {"small": 160, "medium": 320, "large": 640}

#: What is answered with, and its bytes where they are at hand.
_Answer = tuple[Representation, bytes | None]


@dataclass(kw_only=True)
class DeliveryState:
    """What answering with bytes keeps at hand, one for each server process."""

    served: ServedAssets
    generations: ServedAssets
    memory: Memory
    renditions: RenditionCache
    misses: MissLimit
    presets: dict[str, PictureQuery]
    secrets: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class _Access:
    """What a caller may have of an asset, and how long others may keep it."""

    max_age: int | None
    embeddable: bool
    #: Whether the address is signed, with all its parameters.
    signed: bool = False


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One request for an asset's bytes."""

    request: Request
    query: QueryParams
    served: Served
    access: _Access

    @property
    def state(self) -> DeliveryState:
        state: DeliveryState = self.request.app.state.delivery
        return state

    @property
    def is_download(self) -> bool:
        return self.query.get("download", "0") not in {"", "0", "false"}

    async def is_owner(self) -> bool:
        """Whether the owner asks, or an admin, and may read."""
        actor = await find_actor(self.request)
        return (
            actor is not None
            and (actor.user_id == self.served.owner_id or actor.is_admin)
            and "read" in actor.scopes
        )


class Delivery:
    """Answers GET and HEAD of `routes`, which the application has as well: for its other layers, and for OpenAPI.

    `headers` are those of every answer.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[Route], headers: Mapping[str, str]) -> None:
        self.app = app
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._routes = [(route.path_regex, route) for route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._find(scope)
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                message["headers"] += self._headers
            await send(message)

        try:
            await route.endpoint(scope, receive, watched_send)
        except Exception as error:
            answer = None if started else await answer_of(Request(scope), error)
            if answer is None:
                raise
            await answer(scope, receive, watched_send)

    def _find(self, scope: Scope) -> Route | None:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"} or has_body(scope):
            return None
        for pattern, route in self._routes:
            if match := pattern.match(scope["path"]):
                scope["path_params"] = match.groupdict()
                return route
        return None


class _Endpoint:
    """A GET and HEAD route that answers with bytes; `represent` says which."""

    def __init__(
        self,
        represent: Callable[[_Asked], Awaitable[_Answer]],
        find: Callable[[DeliveryState, Mapping[str, str]], Awaitable[tuple[Served, float] | None]],
        missing: str = _NOT_FOUND,
    ) -> None:
        self._represent = represent
        self._find = find
        self._missing = missing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        library = library_of(request)
        state: DeliveryState = request.app.state.delivery
        found = await self._find(state, scope["path_params"])
        if found is None:
            raise NotFound(self._missing)
        served, good_until = found
        query = request.query_params if scope["query_string"] else _NOTHING_ASKED
        access = await _access(request, query, served, missing=self._missing)
        asked = _Asked(request=request, query=query, served=served, access=access)
        content, body = await self._represent(asked)
        if access.signed:
            good_until = 0.0  # it may end before
        await send_representation(
            content, body, library.store, library.settings, scope, receive, send, good_until=good_until
        )


_NOTHING_ASKED = QueryParams("")


async def _access(request: Request, query: QueryParams, served: Served, *, missing: str) -> _Access:
    """Raises `NotFound` for a private asset unless its owner asks, an admin, or somebody with a signed address."""
    library = library_of(request)
    is_public = served.visibility == "public"
    if SIGNATURE in query:
        if not is_signed(request.app.state.delivery.secrets, request.scope["path"], query.multi_items()):
            raise NotFound(missing)
        left = int(query[EXPIRES]) - int(time.time())
        max_age = min(library.settings.public_max_age, left) if is_public else None
        return _Access(max_age=max_age, embeddable=True, signed=True)
    if is_public:
        return _Access(max_age=library.settings.public_max_age, embeddable=True)
    access = _Access(max_age=None, embeddable=False)
    if not await _Asked(request=request, query=query, served=served, access=access).is_owner():
        raise NotFound(missing)
    return access


async def _file(asked: _Asked) -> _Answer:
    if not picture_query.NAMES.isdisjoint(asked.query.keys()):
        return await _picture(asked)
    return _prepared(asked, "file", lambda: _original(asked)), await _at_hand(asked)


def _original(asked: _Asked) -> Representation:
    served = asked.served
    return Representation(
        media_type=served.media_type,
        size=served.size,
        sha256=served.sha256,
        modified_at=served.created_at,
        name=_download_name(served),
        max_age=asked.access.max_age,
        embeddable=asked.access.embeddable,
        key=served.key,
        attachment=asked.is_download,
        tag=_tag(asked),
    )


async def _at_hand(asked: _Asked) -> bytes | None:
    """The bytes of a small original, out of memory; None where they are better sent as they are read."""
    library, memory, served = library_of(asked.request), asked.state.memory, asked.served
    settings = library.settings
    if served.size > memory.largest or settings.accel_redirect or settings.redirect_to_storage:
        return None
    found = memory.find(served.key)
    if found is None:
        try:
            body = await library.store.read_bytes(served.key)
        except MissingObject as error:
            raise missing(served.key) from error
        found = Content(body, served.size, served.sha256, served.created_at)
        if len(body) == served.size:
            memory.keep(served.key, found)
    return found.body


async def _thumbnail(asked: _Asked) -> _Answer:
    if not asked.served.has_thumbnail:
        raise NotFound("This asset has no thumbnail")
    return await _fixed(asked, THUMBNAIL)


async def _small_image(asked: _Asked) -> _Answer:
    """An image asset's thumbnail, in one of three sizes."""
    if asked.served.type != "image":
        raise NotFound(_NOT_FOUND)
    size = asked.query.get("size", "medium")
    if size not in IMAGE_SIZES:
        raise InvalidInput("size is small, medium or large.", field="size")
    query = PictureQuery(width=IMAGE_SIZES[size], height=IMAGE_SIZES[size], format="jpg")
    bounds = Bounds(max_side=MAX_SIDE, max_pixels=MAX_SIDE * MAX_SIDE, reason="here")
    transform = picture_query.transform_of(query, asked.served, bounds, accept="")
    return await _fixed(asked, picture_recipe(transform, is_preset=True))


async def _waveform(asked: _Asked) -> _Answer:
    if asked.served.type != "audio":
        raise NotFound("This asset has no waveform")
    recipes = {"json": WAVEFORM, "png": WAVEFORM_PICTURE}
    wanted = asked.query.get("format", "json")
    if wanted not in recipes:
        raise InvalidInput("format is json or png.", field="format")
    return await _fixed(asked, recipes[wanted])


async def _fixed(asked: _Asked, recipe: Recipe) -> _Answer:
    """One of the renditions that belong to the file, whoever asks first."""
    try:
        return await _rendition(asked, recipe)
    except UndecodableMedia as error:
        raise NotFound(f"This asset has no {recipe.label}: {error.detail}") from error


async def _picture(asked: _Asked) -> _Answer:
    """A picture of the size and format that the parameters ask for."""
    given = picture_query.parse(asked.query)
    query = picture_query.with_preset(given, asked.state.presets)
    is_preset = given.preset is not None and given.model_fields_set == {"preset"}
    is_negotiated = query.format == "auto"
    try:
        bounds, max_age = await _rights(asked, query, is_preset=is_preset)
        accept = asked.request.headers.get("accept", "")
        transform = picture_query.transform_of(query, asked.served, bounds, accept=accept)
        asked = replace(asked, access=replace(asked.access, max_age=max_age))
        recipe = picture_recipe(transform, is_preset=is_preset)
        return await _rendition(asked, recipe, vary="Accept" if is_negotiated else "")
    except MediakeepError as error:
        if is_negotiated:
            error.headers["Vary"] = "Accept"
        if isinstance(error, UndecodableMedia):
            sentence = f"There is no such picture of this asset: {error.detail}"
            raise NotFound(sentence, headers=error.headers) from error
        raise


async def _rights(asked: _Asked, query: PictureQuery, *, is_preset: bool) -> tuple[Bounds, int | None]:
    """What the caller may ask for, and how long others may keep it. Raises `PermissionDenied`."""
    settings = library_of(asked.request).settings
    is_trusted = asked.access.signed or is_preset
    if settings.renditions == "presets" and not is_preset:
        raise PermissionDenied("Only presets may be asked for here, such as ?preset=name and nothing else.")
    if not is_trusted and (settings.renditions == "signed" or _needs_owner(query, settings)):
        is_trusted = await asked.is_owner()
        if settings.renditions == "signed" and not is_trusted:
            raise PermissionDenied("Pictures of other sizes need a signed address here.")
    bounds = Bounds(
        max_side=MAX_SIDE if is_trusted else settings.max_rendition_side,
        max_pixels=settings.max_rendition_pixels,
        reason="here" if is_trusted else "without login or signature",
    )
    # What only the owner may ask for is nobody else's to keep.
    is_private = is_trusted and not (asked.access.signed or is_preset)
    return bounds, None if is_private else asked.access.max_age


def _needs_owner(query: PictureQuery, settings: Settings) -> bool:
    """Whether the picture is larger than anybody may ask for."""
    return max(query.width or 0, query.height or 0) * query.dpr > settings.max_rendition_side


async def _rendition(asked: _Asked, recipe: Recipe, *, vary: str = "") -> _Answer:
    served, state, address = asked.served, asked.state, address_of(asked.request)
    source = Source(
        public_id=served.file_public_id,
        key=served.key,
        format=served.format,
        family=get_format(served.format).family,
    )
    # The fixed renditions of a file are made once, whoever asks; of the others there is no end.
    made = await state.renditions.get(
        source, recipe, may_make=lambda: state.misses.hit(address) if recipe.is_variant else None
    )
    stem = served.name.rpartition(".")[0] or served.name
    content = Representation(
        media_type=recipe.media_type,
        size=made.size,
        sha256=made.sha256,
        # A focal point that was moved, or another version of the program, makes another picture of the same address;
        # but never later than now, whatever the store's clock says (RFC 9110 §8.8.2.1).
        modified_at=min(max(served.updated_at, made.made_at), datetime.now(UTC)),
        name=clean_file_name(f"{stem}-{recipe.label}.{recipe.extension}"),
        max_age=asked.access.max_age,
        embeddable=asked.access.embeddable,
        key=rendition_key(source.public_id, recipe),
        attachment=asked.is_download,
        vary=vary,
        tag=_tag(asked),
    )
    return content, made.body


def _prepared(asked: _Asked, what: str, make: Callable[[], Representation]) -> Representation:
    """What `make` gives, kept for as long as the asset is the same."""
    key = (what, asked.is_download, asked.access)
    known: Representation | None = asked.served.prepared.get(key)
    if known is None:
        # Signed addresses have an age that goes down by the second.
        known = make()
        if not asked.access.signed:
            asked.served.prepared[key] = known
    return known


def _tag(asked: _Asked) -> str:
    """What a CDN is told to forget the answer by, where there is one and it may keep it."""
    has_cdn = library_of(asked.request).settings.cdn_url
    return asked.served.public_id if has_cdn and asked.access.max_age is not None else ""


def _download_name(served: Served) -> str:
    """The asset's name as that of a file, with the extension of what it is unless it has one."""
    extensions = tuple(f".{one}" for one in get_format(served.format).extensions)
    has_one = served.name.lower().endswith(extensions)
    return clean_file_name(served.name if has_one else f"{served.name}.{served.format}")


async def send_download(scope: Scope, receive: Receive, send: Send, served: Served, *, name: str) -> None:
    """Answer with an original, called `name`, as a download that nobody may keep; the caller knows who asks."""
    request = Request(scope)
    library = library_of(request)
    access = _Access(max_age=None, embeddable=False)
    asked = _Asked(request=request, query=_NOTHING_ASKED, served=served, access=access)
    content = replace(_original(asked), name=name, attachment=True)
    body = await _at_hand(asked)
    await send_representation(content, body, library.store, library.settings, scope, receive, send)


async def forget(request: Request, session: AsyncSession, public_id: str) -> None:
    """Have this process look up an asset anew that is changed or deleted here, its generations too, and the CDN forget
    it, after the commit: before that somebody may still find, and keep, what was there.
    """
    public_id = as_public_id(public_id)
    await cdn.purge(session, library_of(request).settings, [public_id])
    _after_commit(request, session, lambda state: state.served.forget(public_id))


def forget_all(request: Request, session: AsyncSession) -> None:
    """Have this process look everything up anew, after the commit: a collection or a user is gone, with whatever was theirs."""
    _after_commit(request, session, lambda state: state.served.clear())


def _after_commit(request: Request, session: AsyncSession, work: Callable[[DeliveryState], None]) -> None:
    state: DeliveryState = request.app.state.delivery
    hot: HotAnswers | None = request.scope.get("state", {}).get("hot")

    def forget_what_was(_: object) -> None:
        work(state)
        # All of them: they are known by ids of their own, are good for a second, and cost little to find again.
        state.generations.clear()
        if hot:
            hot.clear()

    event.listen(session.sync_session, "after_commit", forget_what_was, once=True)


async def _asset(state: DeliveryState, ids: Mapping[str, str]) -> tuple[Served, float] | None:
    return await state.served.find(as_public_id(ids["asset_id"]))


async def _generation(state: DeliveryState, ids: Mapping[str, str]) -> tuple[Served, float] | None:
    """Its id may carry an extension, whichever."""
    return await state.generations.find(as_public_id(ids["image_id"].partition(".")[0]))


def routes(prefix: str) -> list[Route]:
    """The file, thumbnail and waveform of an asset, below a surface's address."""
    return [
        _route(f"{prefix}/assets/{{asset_id}}", _Endpoint(_file, _asset)),
        _route(f"{prefix}/assets/{{asset_id}}/thumbnail", _Endpoint(_thumbnail, _asset)),
        _route(f"{prefix}/assets/{{asset_id}}/waveform", _Endpoint(_waveform, _asset)),
    ]


def image_routes() -> list[Route]:
    """The images of generations, and what an image asset is shown with: `/api/v1`."""
    return [
        _route("/api/v1/files/images/{image_id}", _Endpoint(_file, _generation, "Image not found")),
        _route("/api/v1/assets/{asset_id}/thumbnail", _Endpoint(_small_image, _asset)),
    ]


def _route(path: str, endpoint: _Endpoint) -> Route:
    return Route(path, endpoint, methods=["GET", "HEAD"])
