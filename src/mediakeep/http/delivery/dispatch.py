"""Which requests are answered with bytes, and by what."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from fastapi import Request
from starlette.datastructures import QueryParams
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mediakeep.assets.served import Served
from mediakeep.db.base import as_public_id
from mediakeep.errors import NotFound
from mediakeep.http import picture_query
from mediakeep.http.auth import library_of
from mediakeep.http.delivery.access import Access, Asked, access_to
from mediakeep.http.delivery.originals import at_hand, original, prepared_original
from mediakeep.http.delivery.renditions import picture, small_image, thumbnail, waveform
from mediakeep.http.delivery.representation import Answer
from mediakeep.http.delivery.sending import send_representation
from mediakeep.http.delivery.state import DeliveryState
from mediakeep.http.middleware import has_body
from mediakeep.http.problems import answer_of

_NOTHING_ASKED = QueryParams("")


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


def routes(prefix: str) -> list[Route]:
    """The file, thumbnail and waveform of an asset, below a surface's address."""
    return [
        _route(f"{prefix}/assets/{{asset_id}}", _Endpoint(_file, _asset)),
        _route(f"{prefix}/assets/{{asset_id}}/thumbnail", _Endpoint(thumbnail, _asset)),
        _route(f"{prefix}/assets/{{asset_id}}/waveform", _Endpoint(waveform, _asset)),
    ]


def image_routes() -> list[Route]:
    """The images of generations, and what an image asset is shown with: `/api/v1`."""
    return [
        _route("/api/v1/files/images/{image_id}", _Endpoint(_file, _generation, "Image not found")),
        _route("/api/v1/assets/{asset_id}/thumbnail", _Endpoint(small_image, _asset)),
    ]


async def send_download(scope: Scope, receive: Receive, send: Send, served: Served, *, name: str) -> None:
    """Answer with an original, called `name`, as a download that nobody may keep; the caller knows who asks."""
    request = Request(scope)
    library = library_of(request)
    access = Access(max_age=None, embeddable=False)
    asked = Asked(request=request, query=_NOTHING_ASKED, served=served, access=access)
    content = replace(original(asked), name=name, attachment=True)
    body = await at_hand(asked)
    await send_representation(content, body, library.store, library.settings, scope, receive, send)


class _Endpoint:
    """A GET and HEAD route that answers with bytes; `represent` says which."""

    def __init__(
        self,
        represent: Callable[[Asked], Awaitable[Answer]],
        find: Callable[[DeliveryState, Mapping[str, str]], Awaitable[tuple[Served, float] | None]],
        missing: str = "Asset not found",
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
        access = await access_to(served, request, query, missing=self._missing)
        asked = Asked(request=request, query=query, served=served, access=access)
        content, body = await self._represent(asked)
        if access.signed:
            good_until = 0.0  # it may end before
        await send_representation(
            content, body, library.store, library.settings, scope, receive, send, good_until=good_until
        )


async def _file(asked: Asked) -> Answer:
    if not picture_query.NAMES.isdisjoint(asked.query.keys()):
        return await picture(asked)
    return prepared_original(asked), await at_hand(asked)


async def _asset(state: DeliveryState, ids: Mapping[str, str]) -> tuple[Served, float] | None:
    return await state.served.find(as_public_id(ids["asset_id"]))


async def _generation(state: DeliveryState, ids: Mapping[str, str]) -> tuple[Served, float] | None:
    """Its id may carry an extension, whichever."""
    return await state.generations.find(as_public_id(ids["image_id"].partition(".")[0]))


def _route(path: str, endpoint: _Endpoint) -> Route:
    return Route(path, endpoint, methods=["GET", "HEAD"])
