"""`riemannrnn sweep`."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.progress import TaskID

from riemannrnn.cli.common import INTERRUPTED, console, progress_bars, refuse
from riemannrnn.cli.common import UNFINISHED as STOPPED
from riemannrnn.run_folder import RunFolderError, RunInUseError
from riemannrnn.runtime import cores
from riemannrnn.settings import SettingError

if TYPE_CHECKING:  # importing a sweep also imports `riemannrnn train`
    from riemannrnn.sweep import SweepResult, Tally
    from riemannrnn.sweep.rehearsal import Rehearsal

SHOWN = 10
"""Most cells of a kind that are listed."""

FILES = ("sweep.nc", "summary.csv", "sweep.png")


def sweep_command(
    grid: Path,
    output: Path,
    workers: int | None,
    scheduler: str | None,
    resume: bool,
    retry: bool,
    dry_run: bool,
) -> None:
    """Run a sweep, or list what would run; the options are declared in `riemannrnn.cli.commands`."""
    from riemannrnn.sweep.rehearsal import rehearse  # noqa: PLC0415  # they import this package
    from riemannrnn.sweep.runner import read_grid, sweep  # noqa: PLC0415

    if workers is not None and scheduler is not None:
        refuse(SettingError("--workers and --scheduler exclude each other: the scheduler has its own workers"))
    try:
        if dry_run:
            return _print_rehearsal(rehearse(grid, output, resume), workers)
        chosen = read_grid(grid)
        chosen.cells()  # an invalid grid raises an error before any worker starts
        with _client(workers, scheduler) as client, _bar() as show:
            result = sweep(chosen, client, output=output, resume=resume, retry=retry, progress=show)
    except (SettingError, RunInUseError) as error:
        refuse(error)
    except RunFolderError as error:
        refuse(error, STOPPED)
    _print_result(result)


@contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """Yield the client of the requested workers, None for this process, and print the address of the dashboard."""
    from riemannrnn.sweep.runner import client_of, local_client  # noqa: PLC0415

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost worker or scheduler is reported in a sentence
    count = cores() if workers is None else workers
    with client_of(scheduler) if scheduler is not None else local_client(count) if count else nullcontext() as client:
        if client is not None:
            console.print(f"Dashboard: {client.dashboard_link}", soft_wrap=True, highlight=False)
        yield client


@contextmanager
def _bar() -> Iterator[Callable[["Tally"], None]]:
    """Show a progress bar; yield the function that updates it."""
    with progress_bars() as progress:
        bars: list[TaskID] = []

        def show(tally: "Tally") -> None:
            if not bars:
                bars.append(progress.add_task("", total=tally.total - tally.before))
            failed = f", {tally.failed} failed" if tally.failed else ""
            done = f"{tally.done} of {tally.total} cells done{failed}"
            progress.update(bars[0], completed=tally.done - tally.before, description=done)

        yield show


def _print_rehearsal(rehearsal: "Rehearsal", workers: int | None) -> None:
    """Print the cells that would run and an estimate of their time."""
    pending, count = rehearsal.pending, cores() if workers is None else workers
    for cell in pending:
        console.print(escape(cell.name), soft_wrap=True, highlight=False)
    console.print(f"{len(pending)} of {len(rehearsal.plan.cells)} cells would run.", highlight=False)
    if pending and isfinite(rehearsal.seconds):
        minutes = rehearsal.seconds_on(count) / 60
        on = f"on {count} workers" if count > 1 else "on one core"
        console.print(f"About {minutes:.1f} minutes {on}, by {rehearsal.basis}.", highlight=False)


def _print_result(result: "SweepResult") -> None:
    """Print how many cells ended in which way, why some did not finish, and where the files are; exit accordingly."""
    from riemannrnn.sweep.cell import FAILED, FINISHED, UNFINISHED  # noqa: PLC0415

    console.print(f"{len(result.having(FINISHED))} of {len(result.cells)} cells finished.", highlight=False)
    for status, word in ((FAILED, "Failed"), (UNFINISHED, "Unfinished")):
        rows = result.having(status)
        for cell, row in rows[:SHOWN]:
            console.print(escape(f"{word}: {cell.name}: {row['reason']}"), soft_wrap=True, highlight=False)
        if len(rows) > SHOWN:
            console.print(f"{word}: {len(rows) - SHOWN} others; summary.csv names them.", highlight=False)
    console.print(f"Written to {escape(str(result.folder))}: {', '.join(FILES)}", soft_wrap=True, highlight=False)
    if result.interrupted or result.having(UNFINISHED):
        console.print("Continue with the same command and --resume.", highlight=False)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if len(result.having(FINISHED)) < len(result.cells):
        raise typer.Exit(STOPPED)
