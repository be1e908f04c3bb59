"""The application: middleware outside, the surfaces inside, the library open while it runs."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from mediakeep import __version__, features
from mediakeep.accounts.secrets import load_secret_key, previous_secret_keys
from mediakeep.assets.served import ServedAssets, find_generation
from mediakeep.events.watcher import Watcher
from mediakeep.files.identity import check_store
from mediakeep.files.memory import Memory
from mediakeep.files.renditions import RenditionCache
from mediakeep.files.variants import VariantLog
from mediakeep.http import delivery, health, metrics, openapi, page
from mediakeep.http.delivery import Delivery, DeliveryState
from mediakeep.http.hot import HotAnswers
from mediakeep.http.legacy import assets as legacy
from mediakeep.http.legacy import jobs as legacy_jobs
from mediakeep.http.middleware import SECURITY_HEADERS, EarlyAnswer, LimitBody, RequestLog, SecurityHeaders
from mediakeep.http.misses import MissLimit
from mediakeep.http.persona_media import media, personas
from mediakeep.http.picture_query import presets_from
from mediakeep.http.problems import install_problem_handlers
from mediakeep.http.sessions import CarryOutAgain
from mediakeep.http.v1 import assets as image_assets
from mediakeep.http.v1 import bulk, generations, project_data, projects, search
from mediakeep.http.v2 import (
    assets,
    audit,
    auth,
    auth_keys,
    auth_sessions,
    collections,
    duplicates,
    events,
    jobs,
    tasks,
    upload,
    users,
    webhooks,
)
from mediakeep.library import open_library
from mediakeep.logs import configure_logging
from mediakeep.search.similar import Similar
from mediakeep.settings import Settings, load_settings
from mediakeep.tasks.transport import open_transport
from mediakeep.tasks.worker import Worker

DESCRIPTION = """\
Images, video, audio and PDFs in; their facts, thumbnails and waveforms out; nothing that was acknowledged is lost.

Log in with **Authorize**, or send an API key as `Authorization: Bearer mk_…` or `X-API-Key`. Errors are
[RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problems; `detail` is a plain sentence.
"""

#: Routes that read their body as a stream, with limits of their own.
_STREAMING = (
    r"(/legacy)?/api/v2/upload-asset",
    r"/api/(clients|campaigns)/[^/]+/assets",
    r"/media/upload/[^/]+",
    r"/api/v1/generations/[^/]+/upload",
)

_EXPOSED = (
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
    "X-Total-Count",
)

_DELIVERED = [
    *delivery.routes("/api/v2"),
    *delivery.routes("/legacy/api/v2"),
    *media.DELIVERED,
    *delivery.image_routes(),
]

# The worker of this process runs whatever the features have registered.
_TASKS = features.task_modules


def create_app(settings: Settings | None = None) -> FastAPI:
    """The server as an ASGI application. Raises `SettingsError`."""
    settings = settings or load_settings()
    configure_logging(settings)
    app = FastAPI(
        title="Mediakeep",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        middleware=_middleware(settings),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would name whatever host the request names
        separate_input_output_schemas=False,
    )
    app.state.settings = settings
    app.state.secret = load_secret_key(settings)
    app.state.previous_secrets = previous_secret_keys(settings)
    app.state.presets = presets_from(settings)
    install_problem_handlers(app)
    app.include_router(auth.router)
    app.include_router(auth_sessions.router)
    app.include_router(auth_keys.router)
    app.include_router(users.router)
    app.include_router(audit.router)
    app.include_router(tasks.router)
    app.include_router(upload.router)
    app.include_router(assets.router)
    app.include_router(duplicates.router)
    app.include_router(collections.router)
    app.include_router(events.router)
    app.include_router(webhooks.router)
    app.include_router(jobs.router)
    app.include_router(legacy.router)
    app.include_router(legacy_jobs.router)
    for surface in (
        projects,
        bulk,
        search,
        image_assets,
        generations,
        project_data,
    ):  # bulk paths before those with an id
        app.include_router(surface.router)
    app.include_router(personas.router)
    app.include_router(media.router)
    app.router.routes.extend(_DELIVERED)
    app.include_router(health.router)
    app.include_router(metrics.router)
    page.install(app)
    metrics.note_routes(app)
    app.openapi = lambda: _openapi(app, settings)  # type: ignore[method-assign]  # the way FastAPI documents
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, HotAnswers | Watcher]]:
    settings: Settings = app.state.settings
    async with AsyncExitStack() as stack:
        library = await stack.enter_async_context(open_library(settings))
        await check_store(library)
        app.state.library = library
        app.state.similar = stack.enter_context(closing(Similar(library.database)))
        variants = await stack.enter_async_context(VariantLog(library))
        memory = Memory(settings.memory_cache_bytes)
        app.state.delivery = DeliveryState(
            served=ServedAssets(library.database),
            generations=ServedAssets(library.database, find_generation),
            memory=memory,
            renditions=RenditionCache(library, memory, variants),
            misses=MissLimit(settings.rendition_misses_per_minute),
            presets=app.state.presets,
            secrets=(app.state.secret, *app.state.previous_secrets),
        )
        app.state.watcher = await stack.enter_async_context(Watcher(library.database))
        app.state.transport = await stack.enter_async_context(open_transport(library))
        if settings.embedded_worker:
            await stack.enter_async_context(Worker(library, transport=app.state.transport))
        yield {"hot": _hot_answers(settings), "watcher": app.state.watcher}


def _hot_answers(settings: Settings) -> HotAnswers:
    """What connections answer by themselves has the headers of the layers that it does not pass."""
    shared = _cross_origin(settings) or {"vary": "Origin"}
    return HotAnswers(
        settings.memory_cache_bytes,
        common=[*SECURITY_HEADERS.items(), *shared.items()],
        any_origin=bool(_cross_origin(settings)),
    )


def _cross_origin(settings: Settings) -> dict[str, str]:
    """The headers that let pages of any origin read a file; empty where they depend on the origin.

    The same on every answer, so that a cache in between need not keep one for each origin.
    """
    if "*" not in settings.cors_origins:
        return {}
    return {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": ", ".join(_EXPOSED),
    }


def _middleware(settings: Settings) -> list[Middleware]:
    cross_origin = Middleware(
        CORSMiddleware,
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "X-API-Key",
            "X-Request-ID",
            "Idempotency-Key",
            "Range",
            "If-Match",
            "If-Modified-Since",
            "If-None-Match",
            "If-Range",
            "If-Unmodified-Since",
            "Last-Event-ID",
        ],
        expose_headers=_EXPOSED,
        max_age=600,
    )
    headers = _cross_origin(settings)
    bytes_of_assets = Middleware(Delivery, routes=_DELIVERED, headers=headers)
    return [
        Middleware(RequestLog),
        Middleware(SecurityHeaders),
        *([bytes_of_assets, cross_origin] if headers else [cross_origin, bytes_of_assets]),
        Middleware(EarlyAnswer),
        Middleware(
            LimitBody, max_bytes=settings.max_request_bytes, streaming=_STREAMING, larger=_larger(settings)
        ),
        Middleware(CarryOutAgain),
    ]


def _larger(settings: Settings) -> dict[str, int]:
    """The addresses that take larger bodies than others, and how large."""
    return {r"/api/v1/projects/[^/]+/assets/bulk": max(settings.max_bulk_bytes, settings.max_request_bytes)}


def _openapi(app: FastAPI, settings: Settings) -> dict[str, Any]:
    if not app.openapi_schema:
        app.openapi_schema = openapi.describe(
            app, max_request_bytes=settings.max_request_bytes, larger=_larger(settings)
        )
    return app.openapi_schema


def app_from_environment() -> FastAPI:
    """For `uvicorn --factory`: server processes build their own, from the environment that `serve` prepared."""
    os.umask(0o077)
    return create_app()
