"""S1 in full: 200 kills on each engine and storage."""

import pytest

from tests.crashes import crash
from tests.proof.report import write_section_row

KILLS = 200

TITLE = "## Killed processes"
HEAD = """\
`kill -9` of servers and workers at random moments while four clients upload, delete and read through two servers.
Afterwards every acknowledged upload that nobody deleted has its exact bytes, every acknowledged delete is gone, and
after two sweeps nothing lies in the storage that no row accounts for.

| commit | library | kills | acknowledged uploads | acknowledged deletes | lost | come back | orphans |
|---|---|---|---|---|---|---|---|
"""


@pytest.mark.timeout(7200)
def test_nothing_acknowledged_is_lost_in_two_hundred_kills(installation, request):
    outcome = crash(installation, kills=KILLS, seed=1)
    installation.sweep()
    checked = installation.run("fsck", "--verify-content")
    orphans = installation.keys_without_row()

    library = request.node.callspec.params["installation"]
    counts = (len(outcome.lost), len(outcome.undead), len(orphans))
    write_section_row(TITLE, HEAD, library, KILLS, outcome.uploads, outcome.deletes, *counts)
    assert outcome.faults == []
    assert counts == (0, 0, 0)
    assert (checked.returncode, checked.stdout) == (0, "Nothing is wrong.\n")
    assert installation.scratch_files() == []
