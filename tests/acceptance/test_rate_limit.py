"""The upload limit is exact, whichever process an upload reaches."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from tests.processes import start_two_servers
from tests.samples import pictures


def test_ten_uploads_a_minute_is_exact_over_two_servers(installation):
    servers = start_two_servers(installation, UPLOADS_PER_MINUTE="10")
    with servers.user(f"{uuid.uuid4().hex}@example.com") as user:
        start = threading.Barrier(40)

        def upload(number):
            client = (user.first, user.second)[number % 2]
            start.wait()
            return client.post(
                "/api/v2/upload-asset",
                files={"file": (f"{number}.png", pictures.png(64 + number, 48), "image/png")},
            )

        with ThreadPoolExecutor(40) as threads:
            answers = list(threads.map(upload, range(40)))
        listed = user.first.get("/api/v2/assets").json()

    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [429] * 30
    assert len(listed) == 10
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["detail"] for answer in refused} == {"Too many requests"}
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert {
        (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) for answer in refused
    } == {("10", "0")}
    accepted = [int(answer.headers["ratelimit-remaining"]) for answer in answers if answer.status_code == 201]
    assert sorted(accepted) == list(range(10))
