"""`/api/v2/tasks`: background work, for admins."""

import pytest
from sqlalchemy import update

from mediakeep.db import now_plus
from mediakeep.tasks import enqueue
from mediakeep.tasks.models import Task

NAME = "files.derive"


@pytest.fixture
def library(app):
    return app.state.library


@pytest.fixture
def put(library):
    """Enqueues a task that waits, and changes it; returns its id."""

    async def put_one(payload, *, name=NAME, owner_id=None, **changes):
        async with library.database.write() as session:
            task_id = await enqueue(session, name, payload, owner_id=owner_id, delay_seconds=3600)
            if changes:
                await session.execute(update(Task).where(Task.id == task_id).values(changes))
        return task_id

    return put_one


@pytest.fixture
def put_dead(put):
    async def put_one(**options):
        values = {"status": "dead", "attempts": 12, "last_error": "OSError: no", "finished_at": now_plus()}
        return await put({"file_id": 1}, **values, **options)

    return put_one


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["detail"]


async def ids(client, query=""):
    answer = await client.get(f"/api/v2/tasks?name={NAME}&{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()]


async def test_tasks_are_listed_newest_first_a_page_at_a_time(admin, put):
    made = [await put({"file_id": n}) for n in range(5)]
    answer = await admin.get(f"/api/v2/tasks?name={NAME}&limit=2&offset=2")
    assert [one["id"] for one in answer.json()] == [made[2], made[1]]
    assert answer.headers["x-total-count"] == "5"
    assert f'name={NAME}&limit=2&offset=4>; rel="next"' in answer.headers["link"]


async def test_tasks_are_listed_by_status_and_name(admin, put, put_dead):
    queued = await put({})
    running = await put({}, leased_until=now_plus(60))
    dead = await put_dead()
    await put({}, name="another")
    assert await ids(admin, "status=queued") == [queued]
    assert await ids(admin, "status=running") == [running]
    assert await ids(admin, "status=dead&status=running") == [dead, running]
    assert await ids(admin) == [dead, running, queued]
    assert (await admin.get("/api/v2/tasks?name=nothing")).json() == []


@pytest.mark.parametrize("query", ["status=asleep", "limit=0", "limit=101", "offset=-1", f"name={'x' * 101}"])
async def test_a_query_that_makes_no_sense_is_refused(admin, query):
    assert (await admin.get(f"/api/v2/tasks?{query}")).status_code == 422


async def test_all_of_a_task_is_shown(admin, owner, put_dead):
    owner_id = (await owner.get("/api/v2/auth/me")).json()["id"]
    task_id = await put_dead(owner_id=owner_id)
    shown = (await admin.get(f"/api/v2/tasks/{task_id}")).json()
    assert {name: value for name, value in shown.items() if not name.endswith("_at")} == {
        "id": task_id,
        "name": NAME,
        "status": "dead",
        "owner_id": owner_id,
        "key": None,
        "priority": 0,
        "payload": {"file_id": 1},
        "state": {},
        "attempts": 12,
        "max_attempts": 12,
        "leased_until": None,
        "last_error": "OSError: no",
    }
    assert shown["finished_at"].endswith("Z")
    assert shown["deadline_at"] is None
    assert (await admin.get(f"/api/v2/tasks?name={NAME}")).json() == [shown]


async def test_secrets_are_not_shown(admin, put):
    task_id = await put({"token": "hush", "to": [{"api_key": "hush"}], "url": "https://u:hush@host"})
    shown = await admin.get(f"/api/v2/tasks/{task_id}")
    assert "hush" not in shown.text
    assert shown.json()["payload"]["token"] == "***"
    assert "hush" not in (await admin.get(f"/api/v2/tasks?name={NAME}")).text


async def test_a_dead_task_is_retried_and_that_is_logged(admin, put_dead):
    task_id = await put_dead(owner_id=99)
    answer = await admin.post(f"/api/v2/tasks/{task_id}/retry")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["attempts"]) == ("queued", 0)
    assert problem(await admin.post(f"/api/v2/tasks/{task_id}/retry")) == (
        409,
        "Only a dead task can be retried.",
    )
    [entry] = (await admin.get("/api/v2/audit?action=task.retried")).json()
    assert (entry["subject"], entry["user_id"], entry["details"]) == (str(task_id), 99, {"name": NAME})


async def test_a_waiting_task_is_cancelled_and_that_is_logged(admin, put):
    task_id = await put({})
    answer = await admin.post(f"/api/v2/tasks/{task_id}/cancel")
    assert answer.status_code == 200
    assert answer.json()["status"] == "cancelled"
    assert problem(await admin.post(f"/api/v2/tasks/{task_id}/cancel")) == (409, "The task has ended.")
    [entry] = (await admin.get("/api/v2/audit?action=task.cancelled")).json()
    assert (entry["subject"], entry["user_id"], entry["details"]) == (str(task_id), None, {"name": NAME})


async def test_a_running_task_is_cancelled(admin, put):
    task_id = await put({}, leased_until=now_plus(60), lease_token="a" * 32)
    shown = (await admin.post(f"/api/v2/tasks/{task_id}/cancel")).json()
    assert (shown["status"], shown["leased_until"]) == ("cancelled", None)


@pytest.mark.parametrize(("method", "act"), [("GET", ""), ("POST", "/retry"), ("POST", "/cancel")])
async def test_a_task_that_is_not_there_is_not_found(admin, method, act):
    assert problem(await admin.request(method, f"/api/v2/tasks/999{act}")) == (404, "Task not found")
    assert (await admin.request(method, f"/api/v2/tasks/x{act}")).status_code == 422


@pytest.mark.parametrize(("method", "act"), [("GET", ""), ("POST", "/retry"), ("POST", "/cancel")])
async def test_nobody_but_an_admin_sees_or_does_any_of_it(owner, put_dead, method, act):
    owner_id = (await owner.get("/api/v2/auth/me")).json()["id"]
    task_id = await put_dead(owner_id=owner_id)
    answer = await owner.request(method, f"/api/v2/tasks/{task_id}{act}")
    assert problem(answer)[0] == 403
    assert (await owner.get("/api/v2/tasks")).status_code == 403
