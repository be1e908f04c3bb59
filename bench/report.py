"""The table, and docs/performance.md, which holds the newest rows of every workload."""

import os
import platform
import re
import sqlite3
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.registry import Row, Workload, order

PAGE = Path("docs/performance.md")

_HEADINGS = ("", "Measured", "Mediakeep", "Reference", "Ratio", "Bar", "Met", "CPU", "Peak MB")
_LIBRARIES = ("fastapi", "uvicorn", "uvloop", "sqlalchemy", "multipart", "pyvips-binary", "pillow", "av")

_PAGE = """\
# Performance

What `make bench` measured on the machine below. Each figure stands beside that of a reference in the same run:

- **plain** is what most back ends do: FastAPI, `UploadFile`, `shutil.copyfileobj`, SQLAlchemy's ORM and pydantic on
  SQLite, `FileResponse`, uvicorn with one worker; pictures made by Pillow and PyAV in the request.
- **loop** is the physical limit of taking files in: socket to disk with SHA-256, fsync, rename, fsync of the folder, and
  the same probe in a decode process; no HTTP, no database.
- **nginx** is the limit of delivery: Debian's, one worker, `sendfile`, open files kept, no log
  (`bench/references/nginx.conf`).
- **vips** is the limit of making pictures: `pyvips.Image.thumbnail` in a script that does nothing else. It decodes a
  JPEG at twice the size that it needs at least, Mediakeep at the smallest. **pillow** is how it is usually done: decode
  all of it, then `resize` with `LANCZOS`. Both encode as Mediakeep does.
- **bare loop** is the least that tasks cost a database: as many commits that take and remove rows of the same table by
  their ids, by the driver alone, with no worker and no order (`bench/references/commits.py`). Each commit is on the
  disk when it returns, on both sides.

The references neither ask who is calling nor limit, check or catalogue what they get; Mediakeep does. Rounds alternate
between the subjects; each starts them anew on empty folders. A ratio is the median of the rounds' own ratios. The clock
stops when the task queue is empty. CPU and memory are those of the whole process tree (memory as PSS, so that what
processes share counts once); a pair is Mediakeep / reference. The clients run on the same cores, and their CPU is not
counted. **Others** are the cores that neither subject nor clients kept busy: it should be near 0.

Files, pictures and lists that are asked for again and again are asked for by wrk, after their answers were compared
with what they must be and a second to get warm; all of them are in memory by then. *One core each* means that the
subject has one core and wrk the other, and small files then keep wrk as busy as nginx: the CPU of a request tells more
than the rate.

{machine}

{table}

{legend}

## Again

```
make bench                             # everything; about half an hour, on a machine that does nothing else
.venv/bin/python -m bench B1 --rounds 5
.venv/bin/python -m bench B1 --profile # where the time goes: by py-spy where it is installed, else by cProfile
.venv/bin/python -m bench --quick      # whether it runs; writes nothing
```
"""


def table(rows: Iterable[Row]) -> str:
    lines = [_HEADINGS, tuple("---" for _ in _HEADINGS), *(_cells(row) for row in rows)]
    return "\n".join(_line(cells) for cells in lines)


def write(rows: Sequence[Row], *, workloads: Mapping[str, Workload], notes: Mapping[str, str]) -> None:
    """Put the rows into the page. Those of other workloads stay if they come from the same machine and versions.

    `notes` tell of each workload measured now how and when that was done.
    """
    before = PAGE.read_text() if PAGE.is_file() else ""
    here = machine()
    kept_rows, kept_notes = _kept(before) if here in before else ({}, {})
    lines = {name: kept_rows[name] for name in kept_rows if name not in notes}
    for row in rows:
        lines.setdefault(row.workload, []).append(_line(_cells(row)))
    legends = kept_notes | {
        name: f"- **{name}**: {workloads[name].title}. {note}" for name, note in notes.items()
    }
    heading = [_line(_HEADINGS), _line(tuple("---" for _ in _HEADINGS))]
    body = [line for name in sorted(lines, key=order) for line in lines[name]]
    legend = [legends[name] for name in sorted(lines, key=order)]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(
        _PAGE.format(machine=here, table="\n".join(heading + body), legend="\n".join(legend)),
        encoding="utf-8",
    )


def note(rounds: int, others: float) -> str:
    """When and how a workload was measured; `others` are cores."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {rounds} round{'s' if rounds > 1 else ''}, others {others:.2f} cores."
    )


def machine() -> str:
    """What was measured on, without a name or a path of it."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"- {os.cpu_count()} CPUs ({_cpu_model()}), {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.release().split('-')[0]}\n"
        f"- Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}\n"
        f"- Mediakeep {version('mediakeep')}; {libraries}"
    )


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _cells(row: Row) -> tuple[str, ...]:
    met = "" if row.is_met is None else "yes" if row.is_met else "**no**"
    return (row.workload, row.measured, row.ours, row.reference, row.ratio, row.bar, met, row.cpu, row.memory)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _kept(page: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The table's lines and the notes of a page, by workload."""
    rows: dict[str, list[str]] = {}
    notes: dict[str, str] = {}
    for line in page.splitlines():
        if row := re.match(r"\| (B\d\w*) \|", line):
            rows.setdefault(row[1], []).append(line)
        elif said := re.match(r"- \*\*(B\d\w*)\*\*: ", line):
            notes[said[1]] = line
    return rows, notes
