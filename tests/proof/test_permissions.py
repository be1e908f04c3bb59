"""S2 in full: every call by every kind of caller, and every attempt to get in, on both engines."""

import re
import subprocess
import sys

import pytest

from tests.proof.report import ROOT, write_row


@pytest.mark.timeout(1800)
def test_everybody_gets_what_is_written_down_and_nothing_else():
    run = [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/permissions"]
    ended = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    said = ended.stdout.strip().splitlines()[-1]
    passed = re.search(r"(\d+) passed", said)
    failed = re.search(r"(\d+) failed", said)
    result = f"{passed[1] if passed else 0} tests passed, {failed[1] if failed else 0} failed"
    done = "every route by nobody, another user, keys, the cookie, the owner and an admin; attempts to get in, by raw bytes too"
    write_row("S2 permissions", done, result)
    assert ended.returncode == 0, ended.stdout
