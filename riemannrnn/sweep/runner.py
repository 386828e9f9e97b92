"""Running the cells of a sweep: in this process, or on the workers of dask.distributed."""

import os
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from logging import CRITICAL
from pathlib import Path
from typing import Any

import tomli_w

from riemannrnn.run_folder import RunFolderError, create_run_folder, locked, make_folder, write_atomically
from riemannrnn.settings import SettingError
from riemannrnn.sweep.cell import FAILED, UNFINISHED, Row, cell_keys, finished_row, run_cell, unfinished_row
from riemannrnn.sweep.grid import Cell, Grid
from riemannrnn.sweep.result import SweepResult

GRID = "grid.toml"
"""The file in the folder of a sweep with its grid and the version of the program."""

WORKER_OPTIONS = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,  # each step would fetch its memory again
    "distributed.worker.profile.enabled": False,  # dask's profiler takes a twentieth of the time
}
"""Options of dask for worker processes on this machine."""

EXTRA = "dask.distributed is not installed: run pip install 'riemannrnn[sweep]', or pass --workers 0"
"""The remedy if the extra is not installed."""

Job = tuple[int, Mapping[str, Any], str]
"""The number of a cell, its configuration, and its folder."""


@dataclass(frozen=True)
class Tally:
    """The progress of a sweep.

    Attributes
    ----------
    total, done, failed
        Number of cells of the sweep, of ended cells, and of ended cells that did not finish.
    before
        Cells that had ended before this attempt.
    seconds
        Seconds of this attempt so far.
    """

    total: int
    done: int
    failed: int
    before: int
    seconds: float

    @property
    def seconds_left(self) -> float:
        """Estimated seconds until the end, from the cells of this attempt; NaN before the first cell has ended."""
        ran = self.done - self.before
        return self.seconds / ran * (self.total - self.done) if ran else float("nan")


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep, with their folders, and the rows of cells that have ended."""

    grid: Grid
    folder: Path
    cells: Sequence[Cell]
    keys: Sequence[str]
    rows: dict[int, Row]

    @property
    def pending(self) -> list[int]:
        """The numbers of the cells that have not run."""
        return [number for number in range(len(self.cells)) if number not in self.rows]

    def job(self, number: int) -> Job:
        """Return the data that a worker needs to run a cell."""
        return number, self.cells[number].tables, str(self.cell_folder(number))

    def cell_folder(self, number: int) -> Path:
        """Return the run folder of a cell."""
        return self.folder / "cells" / self.keys[number]

    def read_rows(self) -> None:
        """Read the rows of all ended cells from their folders, including rows that no client received."""
        for number in range(len(self.cells)):
            row = finished_row(self.cell_folder(number))
            if row is not None:
                self.rows[number] = row

    def result(self, interrupted: bool = False) -> SweepResult:
        """Return the result, in which cells that have not run are unfinished."""
        rows = [self.rows.get(number, unfinished_row("Not run yet.")) for number in range(len(self.cells))]
        return SweepResult(self.grid, self.folder, self.cells, self.keys, rows, interrupted)


def sweep(
    grid: Grid | Mapping[str, Any] | Path | str,
    client: Any = None,
    *,
    output: Path | str | None = None,
    resume: bool = False,
    retry: bool = False,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> SweepResult:
    """Run every cell of a grid that has not run yet, and write the result.

    Each cell is an ordinary training run, in its own run folder under `cells`. The name of this folder is a digest of its
    configuration, the version and its data. A cell of another grid in the same folder is therefore found again.

    Parameters
    ----------
    grid
        The grid, its tables, or its TOML file.
    client
        A `distributed.Client`; its workers run the cells. They need the same files as this process. Default: the cells run in
        this process, one after the other.
    output
        The folder of the sweep. Default: a new one under `runs`.
    resume
        Whether to continue the sweep in the folder.
    retry
        Whether to run failed cells again, from their beginning.
    progress
        Called after each cell.

    Returns
    -------
    SweepResult
        A cell that fails is a row with its reason. After Ctrl-C, or if the workers are lost, finished cells are kept, and the
        other cells are unfinished.

    Raises
    ------
    SettingError
        For an invalid grid, a folder that is not empty without `resume`, or a sweep of another version.
    RunInUseError
        If another process runs a sweep in the folder.
    RunFolderError
        If the result cannot be written; finished cells are kept.
    """
    grid = read_grid(grid)
    cells = grid.cells()
    folder = (create_run_folder(Path("runs"), "sweep") if output is None else _made(Path(output))).resolve()
    with locked(folder):
        _claim(folder, grid, resume)
        plan = planned(grid, folder, cells)
        if retry:
            _forget_failures(plan)
        interrupted = _run(plan, client, progress)
        plan.read_rows()
        result = plan.result(interrupted)
        result.write()
    return result


def read_grid(grid: Grid | Mapping[str, Any] | Path | str) -> Grid:
    """Return a grid from a `Grid`, its tables, or its file."""
    if isinstance(grid, Grid):
        return grid
    return Grid.parse(grid) if isinstance(grid, Mapping) else Grid.read(Path(grid))


def planned(grid: Grid, folder: Path, cells: Sequence[Cell]) -> Plan:
    """Return the cells of a sweep with their keys, and the rows of cells that have ended."""
    plan = Plan(grid, folder, cells, cell_keys(cells), {})
    plan.read_rows()
    return plan


@contextmanager
def local_client(workers: int) -> Iterator[Any]:
    """Yield a client of worker processes on this machine, with one thread each.

    Raises
    ------
    SettingError
        If dask.distributed is not installed, or the processes cannot start.
    """
    distributed = _distributed()
    import dask  # noqa: PLC0415  # the extra

    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0", "silence_logs": CRITICAL}
    with _environment_restored(), dask.config.set(WORKER_OPTIONS):
        try:
            cluster = distributed.LocalCluster(n_workers=workers, preload=["riemannrnn.sweep.preload"], **options)
        except (OSError, RuntimeError) as error:
            raise SettingError(f"the {workers} worker processes could not start ({error}); try again, or with fewer") from error
        with cluster, distributed.Client(cluster) as client:
            yield client


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Restore the environment variables on exit: dask leaves those of its workers in this process."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def client_of(address: str) -> Iterator[Any]:
    """Yield a client of the scheduler at an address.

    Raises
    ------
    SettingError
        If dask.distributed is not installed, or no scheduler answers.
    """
    distributed = _distributed()
    try:
        client = distributed.Client(address)
    except (OSError, ValueError) as error:
        raise SettingError(f"no scheduler answers at {address} ({error}); start one, or correct the address") from error
    with closing(client):
        yield client


def _distributed() -> Any:
    try:
        import distributed  # noqa: PLC0415  # an extra
    except ImportError:
        raise SettingError(EXTRA) from None
    return distributed


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make the folder {folder}: {error.strerror}; choose another with --output") from error
    return folder


def check_folder(folder: Path, resume: bool) -> None:
    """Check that a sweep can run in a folder.

    Raises
    ------
    SettingError
        If it holds other files, a sweep without `resume`, or a sweep of another version.
    """
    path, own = folder / GRID, version("riemannrnn")
    if not path.exists():
        if resume:
            raise SettingError(f"{folder} holds no sweep to continue; leave out --resume, or correct --output")
        if any(each.name != ".lock" for each in folder.iterdir()):
            raise SettingError(f"{folder} holds other files; choose an empty folder, or one that does not exist, with --output")
        return
    if not resume:
        raise SettingError(f"{folder} holds a sweep; continue it with --resume, or choose another folder with --output")
    theirs = tomllib.loads(path.read_text(encoding="utf-8")).get("versions", {}).get("riemannrnn")
    if theirs != own:
        raise SettingError(
            f"{folder} holds a sweep of riemannrnn {theirs}, and this is {own}: their results would be mixed. Continue with "
            f"version {theirs}, or choose another folder with --output"
        )


def _claim(folder: Path, grid: Grid, resume: bool) -> None:
    check_folder(folder, resume)
    text = tomli_w.dumps(grid.as_tables() | {"versions": {"riemannrnn": version("riemannrnn")}})
    write_atomically(folder / GRID, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    make_folder(folder / "cells")


def _forget_failures(plan: Plan) -> None:
    """Remove the folders of failed cells, so that they run again from their beginning."""
    for number, row in list(plan.rows.items()):
        if row["status"] == FAILED:
            shutil.rmtree(plan.cell_folder(number))
            del plan.rows[number]


def _run(plan: Plan, client: Any, progress: Callable[[Tally], None]) -> bool:
    """Run the remaining cells, and put their rows into the plan; return whether Ctrl-C ended the run."""
    started, before = time.perf_counter(), len(plan.rows)

    def report() -> None:
        failed = sum(row["status"] in (FAILED, UNFINISHED) for row in plan.rows.values())
        progress(Tally(len(plan.cells), len(plan.rows), failed, before, time.perf_counter() - started))

    jobs = [plan.job(number) for number in plan.pending]
    report()
    try:
        for number, row in _in_turn(jobs) if client is None else _on(client, jobs):
            plan.rows[number] = row
            report()
    except KeyboardInterrupt:
        return True
    return False


def _in_turn(jobs: Sequence[Job]) -> Iterator[tuple[int, Row]]:
    for number, tables, folder in jobs:
        yield number, run_cell(tables, folder)


def _on(client: Any, jobs: Sequence[Job]) -> Iterator[tuple[int, Row]]:
    """Yield the rows of cells as they end on the workers of a client."""
    distributed = _distributed()
    numbers = {client.submit(run_cell, tables, folder, pure=False): number for number, tables, folder in jobs}
    try:
        for future in distributed.as_completed(numbers):
            yield numbers[future], _row(future)
    finally:
        client.cancel(list(numbers))


def _row(future: Any) -> Row:
    """Return the row of a cell; it is unfinished if its worker or the scheduler was lost."""
    if future.status == "finished":
        return dict(future.result())
    if future.status == "error":
        return unfinished_row(f"The worker ended: {future.exception()}")
    return unfinished_row("The scheduler was lost.")
