"""`python -m bench [B1 B1b …] [--rounds N] [--quick] [--profile]`."""

import shutil
import sys
import tempfile
from pathlib import Path

import click

from bench import report, tree
from bench.registry import Options, Row, Workload, all_workloads
from bench.subjects import PACKAGES

_FOLDERS = Path(".cache/bench")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--rounds", default=5, show_default=True, help="How often each subject's turn comes.")
@click.option(
    "--quick", is_flag=True, help="One round of an eighth of the load: whether it runs. Writes nothing."
)
@click.option("--profile", is_flag=True, help="Run one round of Mediakeep and print where its time goes.")
def main(*, names: tuple[str, ...], rounds: int, quick: bool, profile: bool) -> None:
    """Measure the workloads named, or all, and write docs/performance.md."""
    if sys.platform != "linux":
        raise click.ClickException("The benchmarks read /proc and need Linux.")
    known = all_workloads()
    if unknown := [name for name in names if name not in known]:
        raise click.ClickException(f"There is no {unknown[0]}; there are {', '.join(known)}.")
    chosen = [known[name] for name in names or known]
    _FOLDERS.mkdir(parents=True, exist_ok=True)
    tree.adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=_FOLDERS)).absolute()
    try:
        options = Options(rounds=1 if quick else rounds, scale=1 / 8 if quick else 1, folder=folder)
        if profile:
            _profile(chosen, options)
        else:
            _measure(chosen, options, known=known, is_written=not quick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(
    chosen: list[Workload], options: Options, *, known: dict[str, Workload], is_written: bool
) -> None:
    if not (PACKAGES / "python_multipart").is_dir():
        raise click.ClickException(f"{PACKAGES} lacks what the references need; `make bench` puts it there.")
    rows: list[Row] = []
    notes: dict[str, str] = {}
    for workload in chosen:
        click.echo(f"{workload.name}: {workload.title}", err=True)
        outcome = workload.run(options)
        rows += outcome.rows
        notes[workload.name] = report.note(options.rounds, outcome.others)
    click.echo(report.machine())
    click.echo(report.table(rows))
    click.echo("\n".join(f"{name}: {note}" for name, note in notes.items()))
    if is_written:
        report.write(rows, workloads=known, notes=notes)


def _profile(chosen: list[Workload], options: Options) -> None:
    for workload in chosen:
        if workload.profile:
            click.echo(f"{workload.name}: {workload.title}")
            workload.profile(options)


if __name__ == "__main__":
    main()
