"""The tables of docs/proof.md: a row for each proof, written anew by each run of it."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROOF = ROOT / "docs" / "proof.md"
HEAD = "| proof | what was done | result | commit |\n|---|---|---|---|\n"


def write_row(proof: str, done: str, result: str) -> None:
    """Put a row into the first table, in place of the older one of the same `proof`. The rest of the page stays."""
    text = PROOF.read_text() if PROOF.exists() else "# Proof\n"
    if HEAD not in text:
        title, _, rest = text.partition("\n")
        text = f"{title}\n\n{HEAD}\n{rest.lstrip()}"
    before, _, after = text.partition(HEAD)
    lines = after.splitlines(keepends=True)
    count = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    rows = [line.rstrip("\n") for line in lines[:count] if not line.startswith(f"| {proof} |")]
    rows = sorted([*rows, f"| {proof} | {done} | {result} | {_commit()} |"])
    PROOF.write_text(before + HEAD + "\n".join(rows) + "\n" + "".join(lines[count:]))


def write_section_row(title: str, head: str, library: str, *cells: object) -> None:
    """Put a row into the table of a section, in place of the older one of the same library.

    `head` is what the section begins with, up to the table's second line. The row begins with commit and library.
    """
    text = PROOF.read_text() if PROOF.exists() else "# Proof\n"
    if title not in text:
        text = f"{text.rstrip()}\n\n{title}\n\n{head}"
    before, found, section = text.partition(head)
    assert found, f"{PROOF} has another head below {title!r}"
    rows, blank, rest = section.partition("\n\n")
    others = [row for row in rows.splitlines() if row and f"| {library} |" not in row]
    row = " | ".join(map(str, (_commit(), library, *cells)))
    PROOF.write_text(before + head + "\n".join(sorted([*others, f"| {row} |"])) + (blank + rest or "\n"))


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
