"""S1 in full: 200 kills on each engine and storage."""

import subprocess
from pathlib import Path

import pytest

from tests.crashes import crash

KILLS = 200

ROOT = Path(__file__).parents[2]
PROOF = ROOT / "docs" / "proof.md"
TITLE = "## Killed processes"
HEAD = """\
`kill -9` of servers and workers at random moments while four clients upload, delete and read through two servers.
Afterwards every acknowledged upload that nobody deleted has its exact bytes, every acknowledged delete is gone, and
after two sweeps nothing lies in the storage that no row accounts for.

| commit | library | kills | acknowledged uploads | acknowledged deletes | lost | come back | orphans |
|---|---|---|---|---|---|---|---|
"""


@pytest.fixture
def write_row(request):
    """Puts a row into the table of docs/proof.md, in place of an older one of the same library."""

    def write(library, *cells):
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        text = PROOF.read_text() if PROOF.exists() else "# Proof\n"
        if TITLE not in text:
            text = f"{text.rstrip()}\n\n{TITLE}\n\n{HEAD}"
        before, _, section = text.partition(HEAD)
        rows, blank, rest = section.partition("\n\n")
        others = [row for row in rows.splitlines() if row and f"| {library} |" not in row]
        row = " | ".join(map(str, (commit, library, *cells)))
        PROOF.write_text(before + HEAD + "\n".join(sorted([*others, f"| {row} |"])) + (blank + rest or "\n"))

    return write


@pytest.mark.timeout(7200)
def test_nothing_acknowledged_is_lost_in_two_hundred_kills(installation, write_row, request):
    outcome = crash(installation, kills=KILLS, seed=1)
    installation.sweep()
    checked = installation.run("fsck", "--verify-content")
    orphans = installation.keys_without_row()

    library = request.node.callspec.params["installation"]
    counts = (len(outcome.lost), len(outcome.undead), len(orphans))
    write_row(library, KILLS, outcome.uploads, outcome.deletes, *counts)
    assert outcome.faults == []
    assert counts == (0, 0, 0)
    assert (checked.returncode, checked.stdout) == (0, "Nothing is wrong.\n")
    assert installation.scratch_files() == []
