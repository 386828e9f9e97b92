"""Our step and the steps of other packages, on the same arrays and with one residual, computed afterwards in float64.

Each solver stops by its own norm. Every contender, including ours, gets about the loosest tolerances with which it meets the
residual, first for the fixed points and then for the adjoints. Contenders that never meet it are shown as such.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.peers import Maker, installed_peers
from benchmarks.records import Row
from benchmarks.steps import Run, Step, ours
from benchmarks.timing import interleaved, ratio, seconds

OURS, OUR_PICARD = "riemannrnn", "riemannrnn, Picard"

SLACK, IDLE, AIM, ATTEMPTS = 1.05, 0.4, 0.9, 6
"""A residual is met up to `SLACK` times the tolerance; below `IDLE` times it, a looser tolerance is tried, to reach `AIM`."""

CLOSE, FASTEST, PATIENCE = 1.5, 30.0, 20.0
"""The search ends between factors this close, moves by at most this factor, and ends after about this many seconds."""

HOPELESS = 100.0
"""A solver that ends this far above its own tolerance has not converged, and is given no other tolerance."""

LOOSE = 1.0
"""The tolerance of adjoints during the search for the tolerance of the fixed points."""

SLOW, FEW = 30, 2
"""A contender above this many times our time, or these seconds for a step, gets only this many repeats."""

Factors = tuple[float, float]
known: dict[tuple[str, float, str], Factors] = {}
"""The last factors of a contender, radius and dtype: the start of the search for another size."""


def side_by_side(n: int, radius: float, dtype: np.dtype[Any], stimuli: int, repeats: int, console: Console) -> list[Row]:
    """Measure every contender in turn, repeatedly, and print and return a row for each."""
    step = Step.draw(n, radius, dtype, stimuli)
    makers: dict[str, Maker] = {OURS: ours, OUR_PICARD: partial(ours, solver="picard")} | installed_peers()
    rows: dict[str, Row] = {}
    runs: dict[str, Callable[[], object]] = {}
    for name, make in makers.items():
        console.print(f"[dim]n = {n}, radius {radius}, {dtype}: {name}[/dim]")
        try:
            run = make(step)
            outcome, factors = judged(run, step, known.get((name, radius, dtype.name), (1.0, 1.0)))
        except Exception as error:  # a contender that fails gets a row, too
            outcome, factors, reason = {"meets": False}, (1.0, 1.0), f"{type(error).__name__}: {str(error)[:60]}"
            outcome["failure"] = reason
        setting = {"units": n, "radius": radius, "dtype": dtype.name, "stimuli": stimuli, "tolerance": step.tolerance}
        rows[name] = {"contender": name, **setting, **outcome}
        if outcome["meets"]:
            known[name, radius, dtype.name] = factors
            runs[name] = partial(run, *(factor * step.tolerance for factor in factors))
    measure(rows, runs, repeats)
    console.print(_table(list(rows.values())))
    return list(rows.values())


def measure(rows: dict[str, Row], runs: dict[str, Callable[[], object]], repeats: int) -> None:
    """Add the medians of interleaved repeats, and the ratios to ours, to the rows of contenders that meet the tolerance."""
    once = {name: seconds(run) for name, run in runs.items()}
    longest = min(SLOW * once[OURS], SLOW) if OURS in once else SLOW
    times = interleaved(runs, repeats, {name: min(repeats, FEW) for name in once if once[name] > longest})
    for name, each in times.items():
        rows[name]["milliseconds"] = 1e3 * statistics.median(each)
        rows[name]["repeats"] = len(each)
        if OURS in times:
            rows[name]["ratio"] = ratio(each, times[OURS])


def judged(run: Run, step: Step, start: Factors) -> tuple[Row, Factors]:
    """Return residuals, tolerances and whether the residuals are met, and the tolerances in units of the common tolerance."""
    tolerance = step.tolerance
    forward, residual = loosest(lambda factor: step.residual(run(factor * tolerance, LOOSE)[0]) / tolerance, start[0])
    outcome: Row = {"residual": residual * tolerance, "meets": residual <= SLACK}
    if not outcome["meets"]:
        return outcome, (forward, start[1])

    def adjoint(factor: float) -> float:
        rates, adjoints, _ = run(forward * tolerance, factor * tolerance)
        return step.adjoint_residual(rates, adjoints) / tolerance

    backward, residual = loosest(adjoint, start[1])
    return outcome | {"adjoint_residual": residual * tolerance, "meets": residual <= SLACK}, (forward, backward)


def loosest(residual: Callable[[float], float], factor: float) -> Factors:
    """Return about the largest factor for which `residual(factor)` is at most 1, and this residual.

    Residuals fall in steps, one for each iteration: the search ends within a step, or after its time limit.
    """
    met, missed = (0.0, 0.0), (np.inf, np.inf)
    began = time.perf_counter()
    for _ in range(ATTEMPTS):
        found = residual(factor)
        if found <= SLACK:
            met = max(met, (factor, found))
        elif not found <= HOPELESS * max(factor, 1.0):
            missed = (factor, found)
            break
        else:
            missed = min(missed, (factor, found))
        enough = met[1] >= IDLE or missed[0] < CLOSE * met[0] or time.perf_counter() - began > PATIENCE
        if met[0] and enough:
            break
        bracketed = met[0] > 0 and missed[0] < np.inf
        factor = (met[0] * missed[0]) ** 0.5 if bracketed else factor * AIM / max(found, AIM / FASTEST)
    return met if met[0] else missed


def _table(rows: list[Row]) -> Table:
    first = rows[0]
    words = f"radius {first['radius']}, {first['dtype']}, {first['stimuli']} stimuli, tolerance {first['tolerance']:g}"
    table = Table(title=f"n = {first['units']}, {words}")
    for heading in ("contender", "ms", "time / ours", "residual", "adjoint residual"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for row in rows:
        figures = ("milliseconds", ".1f"), ("ratio", ".2f"), ("residual", ".1e"), ("adjoint_residual", ".1e")
        cells = [format(row[key], form) if key in row else "–" for key, form in figures]
        if not row["meets"]:
            cells[0] = row.get("failure", "misses")
        table.add_row(row["contender"], *cells)
    return table
