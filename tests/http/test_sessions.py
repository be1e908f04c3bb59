"""A request whose transaction PostgreSQL ends so that another's can go on is carried out again."""

import asyncio
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from mediakeep.assets import image_assets, service
from mediakeep.assets.models import Asset

V1 = "/api/v1"


@pytest.fixture
async def project(owner):
    return (await owner.post(f"{V1}/projects", json={"name": "Forge"})).json()["id"]


@pytest.fixture
def colliding(monkeypatch):
    """Has the creation of assets fail so many times, after everything was done."""

    def colliding(times):
        create = image_assets.create
        calls = []

        async def create_or_collide(*arguments, **options):
            calls.append(options["name"])
            row_id = await create(*arguments, **options)
            if len(calls) <= times:
                raise DBAPIError("", {}, SimpleNamespace(sqlstate="40P01"))
            return row_id

        monkeypatch.setattr(image_assets, "create", create_or_collide)
        return calls

    return colliding


async def test_it_is_carried_out_once_more_with_its_body(owner, project, colliding):
    calls = colliding(1)
    url = f"{V1}/projects/{project}/assets"
    answer = await owner.post(url, json={"name": "Portrait", "tags": ["red"]})
    assert (answer.status_code, answer.json()["name"], calls) == (201, "Portrait", ["Portrait"] * 2)
    assert (await owner.get(url)).json()["total"] == 1


async def test_one_that_collides_again_is_worth_trying_later(owner, project, colliding):
    calls = colliding(2)
    url = f"{V1}/projects/{project}/assets"
    answer = await owner.post(url, json={"name": "Portrait"})
    assert (answer.status_code, answer.headers["retry-after"], len(calls)) == (503, "2", 2)
    assert answer.json()["detail"] == "Others are changing the same things. Try again in a moment."
    assert (await owner.get(url)).json()["total"] == 0


async def test_one_that_waits_for_a_transaction_that_waits_for_it_ends_well(app, owner, project):
    """The request has the asset and wants the tag, the transaction has the tag and wants the asset."""
    asset = (await owner.post(f"{V1}/projects/{project}/assets", json={"name": "a"})).json()
    database = app.state.library.database
    async with database.write() as session:
        row = select(Asset).where(Asset.public_id == asset["id"])
        owner_id = await session.scalar(row.with_only_columns(Asset.owner_id))
        await service.lock_tags(session, owner_id, {"red": "red"})
        changes = {"tags": ["red"]}
        asking = asyncio.create_task(owner.put(f"{V1}/assets/{asset['id']}", json=changes))
        await asyncio.wait([asking], timeout=0.5)
        (await session.scalar(row.with_for_update())).visibility = "private"
    answer = await asking
    assert (answer.status_code, answer.json()["tags"]) == (200, ["red"])
