"""What a sweep would run, and an estimate of its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from riemannrnn.sweep.cell import trial_seconds
from riemannrnn.sweep.grid import Cell, Grid
from riemannrnn.sweep.runner import Plan, check_folder, planned, read_grid


@dataclass(frozen=True)
class Rehearsal:
    """The plan of a sweep, and the estimated seconds of a cell.

    Attributes
    ----------
    plan
        The cells, and the rows of cells that have ended.
    seconds
        Seconds of a cell on one core; NaN if the trial failed.
    basis
        The basis of the estimate.
    """

    plan: Plan
    seconds: float
    basis: str

    @property
    def pending(self) -> list[Cell]:
        """The cells that would run."""
        return [self.plan.cells[number] for number in self.plan.pending]

    def seconds_on(self, workers: int) -> float:
        """Return the estimated seconds of the sweep on this many workers."""
        return self.seconds * -(-len(self.pending) // max(workers, 1))


def rehearse(grid: Grid | Mapping[str, Any] | Path | str, output: Path, resume: bool = False) -> Rehearsal:
    """Return what a sweep would run; raises `SettingError` as `sweep` does, and writes nothing.

    The seconds of a cell are the mean over finished cells, or an estimate from some steps of the first cell to run.
    """
    grid, folder = read_grid(grid), output.resolve()
    if folder.is_dir():
        check_folder(folder, resume)
    plan = planned(grid, folder, grid.cells())
    seconds = [float(row["seconds"]) for row in plan.rows.values()]
    if seconds or not plan.pending:
        return Rehearsal(plan, float(np.mean(seconds)) if seconds else 0.0, f"the mean of {len(seconds)} cells that have ended")
    return Rehearsal(plan, trial_seconds(plan.cells[plan.pending[0]].tables), "some steps of the first cell")
