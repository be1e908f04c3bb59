"""An answer is a promise: what was acknowledged survives kill -9, and what a crash leaves is swept away."""

import pytest

from tests.crashes import crash, share


@pytest.fixture(scope="module")
def two_servers(two_servers_alone):
    """What floods servers keeps others from theirs."""
    return two_servers_alone


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_is_left_over_when_processes_are_killed(installation):
    outcome = crash(installation, kills=3, seed=7)
    assert outcome.uploads > 10, outcome
    assert outcome.deletes > 5, outcome
    assert outcome.faults == []
    assert outcome.lost == []
    assert outcome.undead == []

    installation.sweep()
    checked = installation.run("fsck", "--verify-content")
    assert (checked.returncode, checked.stdout) == (0, "Nothing is wrong.\n")
    assert installation.keys_without_row() == set()
    assert installation.scratch_files() == []


@pytest.mark.timeout(300)
def test_nothing_is_lost_when_many_upload_and_delete_the_same_content(two_servers, user):
    outcome = share(two_servers, user.token, seconds=3, seed=7)
    assert outcome.uploads > 20, outcome
    assert outcome.deletes > 10, outcome
    assert outcome.faults == []
    assert outcome.lost == []
    assert outcome.undead == []


@pytest.mark.parametrize("installation", ["sqlite-disk"], indirect=True)
def test_a_killed_server_leaves_no_decode_process(installation):
    server = installation.serve()
    server.wait_until_ready()
    assert len(server.members()) > 1
    server.kill()  # fails when anything of it outlives it
    assert server.members() == []
