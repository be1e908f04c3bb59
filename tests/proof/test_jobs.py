"""Generation jobs in full: 100 of them, and 30 kills, with a server that works itself and with workers beside it."""

import time

import pytest

from tests.job_crashes import crash_jobs
from tests.proof.report import write_section_row

JOBS, KILLS, SEED = 100, 30, 1

TITLE = "## Killed generation jobs"
HEAD = """\
Four clients ask Replicate's emulator for 100 films while `kill -9` hits the server, or some of it and its workers, 30
times at random moments (seed 1). Webhooks of most submissions are late, doubled, out of order or missing; one answer in
five is lost, broken, an error or 429. Afterwards every job has ended, none was submitted twice, what the model made for
each is exactly one asset, and `fsck --verify-content` finds nothing. A job is `not confirmed` when whatever ran it was
killed before it could send the request; one that the provider had begun all the same would be a broken promise. `known
by` is how the library learned of what was begun, as its logs say; a process that is killed may not come to that.

| commit | library | seconds | completed | not confirmed | submitted twice | known by answer | by webhook | by list | broken promises |
|---|---|---|---|---|---|---|---|---|---|
"""


@pytest.fixture
def site(request, installation):
    """What the processes need on each library: alone on SQLite, three workers and Redis beside PostgreSQL."""
    if request.node.callspec.params["installation"] == "sqlite-disk":
        return {"workers": 0}
    return {"workers": 3, "REDIS_URL": request.getfixturevalue("redis_server").url}


@pytest.mark.timeout(1800)
def test_no_job_is_lost_or_submitted_twice_in_thirty_kills(installation, site, request):
    began = time.monotonic()
    outcome = crash_jobs(installation, jobs=JOBS, kills=KILLS, seed=SEED, **site)
    seconds = time.monotonic() - began
    installation.sweep()
    checked = installation.run("fsck", "--verify-content")

    twice = sum(times > 1 for times in outcome.begun.values())
    known_by = [outcome.known_by[way] for way in ("answer", "webhook", "list")]
    completed, failed = len(outcome.ended("completed")), len(outcome.ended("failed"))
    broken = outcome.broken()
    library = request.node.callspec.params["installation"] + (", Redis, 3 workers" if site["workers"] else "")
    write_section_row(TITLE, HEAD, library, round(seconds), completed, failed, twice, *known_by, len(broken))
    assert broken == [], f"seed {SEED}"
    assert len(outcome.jobs) == JOBS
    assert (checked.returncode, checked.stdout) == (0, "Nothing is wrong.\n")
    assert installation.keys_without_row() == set()
    assert installation.scratch_files() == []
