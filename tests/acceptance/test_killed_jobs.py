"""A job is neither lost nor paid for twice when the process that runs it is killed; `make proof` has more of it."""

import sqlite3
from contextlib import closing

import pytest

from tests.job_crashes import crash_jobs


@pytest.fixture
def installation(install):
    with install("sqlite-disk") as installation:
        yield installation


@pytest.fixture
def pass_a_minute(installation):
    """Has a minute pass at once, in which nothing runs: leases end, and submissions have had time to turn up."""

    def pass_a_minute():
        with closing(sqlite3.connect(installation.data / "mediakeep.db")) as database, database:
            database.execute("UPDATE tasks SET leased_until = run_at WHERE leased_until IS NOT NULL")
            earlier = "strftime('%Y-%m-%d %H:%M:%f000', submitted_at, '-60 seconds')"
            database.execute(f"UPDATE jobs SET submitted_at = {earlier} WHERE reference IS NULL")

    return pass_a_minute


@pytest.mark.timeout(300)
def test_no_job_is_lost_or_submitted_twice_when_its_server_is_killed(installation, pass_a_minute):
    outcome = crash_jobs(installation, jobs=12, kills=2, seed=19, after_kill=pass_a_minute)
    assert outcome.broken() == []
    assert len(outcome.jobs) == 12
    assert len(outcome.ended("completed")) > 8
