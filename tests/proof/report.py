"""The table of docs/proof.md: a row for each proof, written anew by each run of it."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROOF = ROOT / "docs" / "proof.md"
HEAD = "| proof | what was done | result | commit |\n|---|---|---|---|\n"


def write_row(proof: str, done: str, result: str) -> None:
    """Put a row into the table, in place of the older one of the same `proof`. The rest of the page stays."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    text = PROOF.read_text() if PROOF.exists() else "# Proof\n"
    if HEAD not in text:
        title, _, rest = text.partition("\n")
        text = f"{title}\n\n{HEAD}\n{rest.lstrip()}"
    before, _, after = text.partition(HEAD)
    lines = after.splitlines(keepends=True)
    count = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    rows = [line.rstrip("\n") for line in lines[:count] if not line.startswith(f"| {proof} |")]
    rows = sorted([*rows, f"| {proof} | {done} | {result} | {commit} |"])
    PROOF.write_text(before + HEAD + "\n".join(rows) + "\n" + "".join(lines[count:]))
