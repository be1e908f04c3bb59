import os
import signal
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import structlog
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from tests.processes import Process
from tests.samples import pictures
from tests.servers.process import free_port

from mediakeep import metrics
from mediakeep.app import create_app
from mediakeep.errors import Unavailable
from mediakeep.metrics.cells import CAPACITY, Cells, read, shared_folder
from mediakeep.storage.base import unavailable_after
from mediakeep.tasks import Again, GiveUp, enqueue, registry, task, worker
from mediakeep.tasks.worker import drain

TOKEN = "a token of these tests"


class Figures(dict):
    """Samples by name and labels, such as `mediakeep_renditions_total{found="memory"}`; 0 where there is none."""

    def __missing__(self, name):
        return 0.0

    @classmethod
    def of(cls, text):
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return cls(
            (one.name + (str(sorted(one.labels.items())) if one.labels else ""), one.value) for one in samples
        )

    def requests(self, method, route, status, of="requests_total"):
        labels = [("method", method), ("route", route), ("status", str(status))]
        return self[f"mediakeep_http_{of}{labels}"]


@pytest.fixture
def figures(api):
    async def figures():
        answer = await api.get("/metrics")
        assert answer.status_code == 200, answer.text
        return Figures.of(answer.text)

    return figures


@pytest.fixture
async def far(app):
    """A client on another machine."""
    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture
def token(app):
    library = app.state.library
    settings = library.settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    object.__setattr__(library, "settings", settings)
    return {"Authorization": f"Bearer {TOKEN}"}


async def test_a_request_is_counted_once_under_the_template_of_its_route(api, figures, owner):
    before = await figures()
    size = len((await owner.get("/api/v2/auth/me")).content)
    await owner.get("/api/v2/assets/nobody")
    await owner.delete("/api/v2/assets/nobody")
    after = await figures()
    for method, route, status in (
        ("GET", "/api/v2/auth/me", 200),
        ("GET", "/api/v2/assets/{asset_id}", 404),
        ("DELETE", "/api/v2/assets/{asset_id}", 404),
    ):
        counted, count, seconds = (
            after.requests(method, route, status, of) - before.requests(method, route, status, of)
            for of in ("requests_total", "request_duration_seconds_count", "request_duration_seconds_sum")
        )
        assert (counted, count) == (1, 1), route
        assert 0 < seconds < 10
    sent = [
        one.requests("GET", "/api/v2/auth/me", 200, "response_body_bytes_total") for one in (before, after)
    ]
    assert sent[1] - sent[0] == size


async def test_buckets_of_a_histogram_add_up(api):
    route = f"/buckets/{uuid.uuid4()}"
    for seconds in (0.003, 99):
        metrics.request_metrics("GET", route, 200).observe(seconds, 10)
    text = (await api.get("/metrics")).text
    (family,) = (
        family
        for family in text_string_to_metric_families(text)
        if family.name == "mediakeep_http_request_duration_seconds"
    )
    buckets = {
        sample.labels["le"]: sample.value
        for sample in family.samples
        if sample.labels["route"] == route and "le" in sample.labels
    }
    assert (buckets["0.0025"], buckets["0.005"], buckets["30"], buckets["+Inf"]) == (0, 1, 1, 2)


async def test_unknown_addresses_and_methods_are_one_label_each(api, figures):
    before = await figures()
    for number in range(5):
        await api.get(f"/nothing/{number}")
        await api.request(f"STRANGE{number}", "/nothing")
    after = await figures()
    assert after.requests("GET", "unknown", 404) - before.requests("GET", "unknown", 404) == 5
    assert after.requests("other", "unknown", 404) - before.requests("other", "unknown", 404) == 5
    assert not [name for name in after if "nothing" in name or "STRANGE" in name]


async def test_answers_to_head_have_no_body(api, figures):
    assert (await api.head("/openapi.json")).status_code == 200
    assert (await figures()).requests("HEAD", "/openapi.json", 200) > 0
    assert (await figures()).requests("HEAD", "/openapi.json", 200, "response_body_bytes_total") == 0


async def test_uploads_and_decode_jobs_are_counted_by_how_they_ended(owner, figures):
    async def upload(data, **headers):
        file = {"file": ("a.jpg", data, "image/jpeg")}
        return (await owner.post("/api/v2/upload-asset", files=file, headers=headers)).status_code

    good, broken = pictures.jpeg(), pictures.jpeg()[:200]
    before = await figures()
    key = {"Idempotency-Key": str(uuid.uuid4())}
    assert [await upload(good, **key), await upload(good, **key), await upload(broken)] == [201, 201, 400]
    after = await figures()
    for name, label, grown in (
        ("uploads_total", "stored", 1),
        ("uploads_total", "repeated", 1),
        ("uploads_total", "refused", 1),
        ("upload_bytes_total", "stored", len(good)),
        ("upload_bytes_total", "refused", len(broken)),
        ("decode_jobs_total", "done", 1),
        ("decode_jobs_total", "undecodable", 1),
        ("decode_job_duration_seconds_count", "", 2),
        ("decode_jobs_running", "", 0),
        ("decode_jobs_waiting", "", 0),
    ):
        sample = f"mediakeep_{name}" + (str([("outcome", label)]) if label else "")
        assert after[sample] - before[sample] == grown, sample


async def test_pictures_are_counted_by_how_they_were_found(owner, api, figures):
    file = {"file": ("a.jpg", pictures.jpeg(), "image/jpeg")}
    asset = (await owner.post("/api/v2/upload-asset", files=file)).json()
    before = await figures()
    for _ in range(3):
        answer = await api.get(f"/api/v2/assets/{asset['id']}/thumbnail")
        assert answer.status_code == 200
    after = await figures()
    found = {
        how: after[name] - before[name]
        for how in ("memory", "storage", "made", "failed", "refused")
        for name in [f"mediakeep_renditions_total{[('found', how)]}"]
    }
    assert found == {"memory": 2, "storage": 1, "made": 0, "failed": 0, "refused": 0}


async def test_tasks_are_counted_by_how_they_ended_and_by_what_is_left(app, figures, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    # The module's own would from now on write where this application does, which tests of its log lines do not want.
    monkeypatch.setattr(worker, "_log", structlog.get_logger())

    @task("test.fails")
    async def fail(library, claimed):
        raise GiveUp("no")

    @task("test.waits")
    async def wait(library, claimed):
        return Again(after_seconds=3600)

    @task("test.works")
    async def work(library, claimed):
        return None

    library = app.state.library
    before = await figures()
    async with library.database.write() as session:
        for name in ("fails", "waits", "works"):
            await enqueue(session, f"test.{name}", {})
        await enqueue(session, "test.unknown", {})
    await drain(library)
    after = await figures()
    for name, outcome in (("fails", "dead"), ("waits", "postponed"), ("works", "done")):
        sample = f"mediakeep_task_steps_total{[('outcome', outcome), ('task', f'test.{name}')]}"
        assert after[sample] - before[sample] == 1, sample
    assert after["mediakeep_tasks_waiting"] == 2
    assert after["mediakeep_tasks_dead"] == 1
    assert 0 < after["mediakeep_tasks_overdue_seconds"] < 60


async def test_failures_of_the_storage_are_counted(figures):
    before = await figures()
    with pytest.raises(Unavailable), unavailable_after(OSError):
        raise OSError
    after = await figures()
    name = "mediakeep_storage_failures_total"
    assert after[name] - before[name] == 1


async def test_openmetrics_for_whoever_asks_for_it(api):
    answer = await api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert list(openmetrics.text_string_to_metric_families(answer.text))


async def test_several_applications_in_one_process_do_not_collide(settings, figures):
    create_app(settings)
    create_app(settings)
    assert await figures()


async def test_other_machines_find_nothing(far, api):
    answer, nothing = await far.get("/metrics"), await far.get("/nothing")
    assert (answer.status_code, answer.content) == (404, nothing.content)
    proxied = await api.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
    assert proxied.status_code == 404


async def test_other_machines_need_the_token(far, token):
    assert (await far.get("/metrics", headers=token)).status_code == 200
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = await far.get("/metrics", headers=wrong)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_this_machine_needs_no_token(api, token):
    assert (await api.get("/metrics")).status_code == 200


async def test_figures_stay_readable_while_the_database_is_away(app, api, monkeypatch):
    def away():
        raise ConnectionError

    monkeypatch.setattr(app.state.library.database, "read", away)
    figures = Figures.of((await api.get("/metrics")).text)
    assert "mediakeep_tasks_waiting" not in figures
    assert figures["process_resident_memory_bytes"] > 0


def test_a_process_goes_on_from_one_that_has_ended(tmp_path):
    first, second = Cells.shared(tmp_path), Cells.shared(tmp_path)
    first.row(("a", "x"))[0] += 2
    second.row(("a", "x"))[0] += 40
    assert [one.rows for one in read(tmp_path)] == [{("a", "x"): [2]}, {("a", "x"): [40]}]
    first._journal.close()
    assert [one.pid for one in read(tmp_path)] == [None, os.getpid()]
    third = Cells.shared(tmp_path)
    third.row(("a", "x"))[0] += 1
    third.row(("b",), 3)[2] = 5
    assert [one.rows for one in read(tmp_path)] == [
        {("a", "x"): [3], ("b",): [0, 0, 5]},
        {("a", "x"): [40]},
    ]
    second._journal.close()
    third._journal.close()


def test_counting_never_fails_for_want_of_room():
    cells = Cells()
    for number in range(CAPACITY // 17 + 10):
        cells.row((str(number),), 17)[16] += 1
    assert len(cells.figures().rows) == (CAPACITY - 1) // 17


def test_a_name_that_was_cut_short_is_passed_over(tmp_path):
    cells = Cells.shared(tmp_path)
    cells.row(("a",))[0] = 1
    with (tmp_path / "0.names").open("ab") as names:
        names.write(b'[9, 1, "b')
    assert [one.rows for one in read(tmp_path)] == [{("a",): [1]}]
    cells._journal.close()


def test_what_a_killed_server_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path):
    left = tmp_path / "left"
    left.mkdir()
    with shared_folder(tmp_path) as one, shared_folder(tmp_path) as other:
        assert not left.exists()
        assert one.exists()
        assert other.exists()
    assert list(tmp_path.iterdir()) == []


def get(url, **more):
    return httpx.get(url, timeout=30, trust_env=False, verify=False, **more)


def test_the_figures_are_those_of_all_server_processes(install):
    port = free_port()
    with install("sqlite-disk") as installation:
        server = installation.serve(WORKERS="2", METRICS_PORT=str(port))
        server.wait_until_ready()
        url = f"http://127.0.0.1:{port}/metrics"
        deadline = time.monotonic() + 30
        while Figures.of(get(url).text)["mediakeep_processes"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: get(f"{server.url}/healthz"), range(200)))
        for address in (url, f"{server.url}/metrics"):
            assert Figures.of(get(address).text).requests("GET", "/healthz", 200) == 200

        (folder,) = (installation.data / "metrics").iterdir()
        kind = ("mediakeep_http_request_duration_seconds", "GET", "/healthz", "200")
        shares = {one.pid: sum(one.rows[kind][:15]) for one in read(folder) if kind in one.rows}
        assert len(shares) == 2, shares
        assert sum(shares.values()) == 200

        os.kill(next(iter(shares)), signal.SIGKILL)
        assert Figures.of(get(url).text).requests("GET", "/healthz", 200) == 200
        assert get(f"http://127.0.0.1:{port}/healthz").status_code == 404
        assert server.stop() == 0
        assert list((installation.data / "metrics").iterdir()) == []


def test_the_port_of_one_process_and_of_a_worker(install):
    first, second = free_port(), free_port()
    with install("sqlite-disk") as installation:
        server = installation.serve(METRICS_PORT=str(first), METRICS_TOKEN=TOKEN)
        server.wait_until_ready()
        url = f"http://127.0.0.1:{first}/metrics"
        assert get(url).status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert Figures.of(get(url, headers=right).text).requests("GET", "/readyz", 200) == 1

        settings = installation.settings | {"METRICS_PORT": str(first)}  # which is the server's
        worker = Process(
            "worker", "--metrics-port", str(second), folder=installation.folder, settings=settings
        )
        try:
            worker.wait_for("worker.started")
            figures = Figures.of(get(f"http://127.0.0.1:{second}/metrics").text)
            assert figures["mediakeep_processes"] == 1
            assert figures["process_resident_memory_bytes"] > 0
        finally:
            worker.stop()


def test_a_port_that_is_taken_is_a_sentence(install):
    with install("sqlite-disk") as installation, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = installation.run("serve", "--port", "0", METRICS_PORT=str(port))
        assert done.returncode != 0
        assert f"MEDIAKEEP_METRICS_PORT: port {port} of 127.0.0.1 cannot be listened on:" in done.stderr
        assert "Traceback" not in done.stderr
