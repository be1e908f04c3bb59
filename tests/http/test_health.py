"""`/readyz`: what it says of Redis."""

import httpx
import pytest

pytestmark = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
async def ready(library_settings, build_app, redis_server, warm_decoders):
    """Asks a server that has a Redis."""
    changes = {"embedded_worker": False, "redis_url": redis_server.url}
    app = build_app(library_settings.model_copy(update=changes))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            yield lambda: client.get("/readyz")


async def test_redis_is_told_of_and_a_server_is_ready_without_it(ready, redis_server):
    answer = await ready()
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "storage": "ok", "queue": "ok"}
    redis_server.stop()
    answer = await ready()
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "storage": "ok", "queue": "failing"}


async def test_without_redis_nothing_is_said_of_it(api):
    answer = await api.get("/readyz")
    assert answer.json() == {"status": "ok", "database": "ok", "storage": "ok", "queue": None}
