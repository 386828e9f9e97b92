"""Small problems beside a plain NumPy loop with microseconds for an iteration: in `train`, and in a user's own loop."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from benchmarks.contest import OURS
from benchmarks.markdown import Record, measured, spread, table
from benchmarks.peers import installed_peers
from benchmarks.records import Row
from benchmarks.steps import Run, Step, numpy_picard, ours
from benchmarks.timing import interleaved
from riemannrnn.plots.saving import save_figure
from riemannrnn.runtime import one_blas_thread

UNITS, RADII, STIMULI, DTYPES = (20, 50, 100, 150, 200), (0.3, 0.5, 0.7, 0.9), (1, 32, 200, 512), ("float32", "float64")

TICKS = (0.25, 0.5, 1, 2, 4)
"""Ratios on the colour bar."""

LOOP = "NumPy Picard loop"

SHORT, SHORT_LIMIT, LIMIT = 1.0, 1.5, 1.05
"""The limits of the ratio to the loop: the first if the loop takes fewer milliseconds than this, otherwise the second."""


def small_row(units: int, radius: float, stimuli: int, dtype: str, repeats: int, peers: bool) -> Row:
    """Measure one exact-gradient step of every contender in turn, all with the same tolerance.

    `train` limits BLAS to one thread for the whole run. In every other round our step and the loop have this limit too; in the
    other rounds BLAS uses its own threads. The faster of the two loops counts.
    """
    step = Step.draw(units, radius, np.dtype(dtype), stimuli)
    found: dict[str, Run] = {OURS: ours(step, threads=nullcontext), LOOP: numpy_picard(step)}
    others = {name: make(step) for name, make in installed_peers().items() if name != LOOP} if peers else {}
    held, free = (
        rounds(found, step.tolerance, repeats, one_blas_thread),
        rounds(found | others, step.tolerance, repeats, nullcontext),
    )
    times = [(next(held), next(free)) for _ in range(repeats)]
    medians = [{name: statistics.median(each[place][name] for each in times) for name in times[0][place]} for place in (0, 1)]
    loop = min((0, 1), key=lambda place: medians[place][LOOP])
    row: Row = {"units": units, "radius": radius, "stimuli": stimuli, "dtype": dtype, "loop_ms": 1e3 * medians[loop][LOOP]}
    for place, key in enumerate(("ratio", "free_ratio")):
        row[key] = statistics.median(each[place][OURS] / each[loop][LOOP] for each in times)
    if others:
        row["peer"] = min(others, key=lambda name: medians[1][name])
        row["peer_ratio"] = medians[1][row["peer"]] / medians[0][OURS]
    return row


def rounds(
    contenders: dict[str, Run], tolerance: float, repeats: int, threads: Callable[[], AbstractContextManager[None]]
) -> Iterator[dict[str, float]]:
    """Yield the seconds of each contender, round by round, each measured after it has run for a while."""
    runs = {name: partial(run, tolerance, tolerance) for name, run in contenders.items()}
    for _ in range(repeats):
        with threads():
            times = {name: each[-1] for name, each in interleaved(runs, 2).items()}
        yield times


def limit(row: Row) -> float:
    """Return the limit of the ratio for a setting."""
    return SHORT_LIMIT if row["loop_ms"] < SHORT else LIMIT


def small_table(record: Record) -> str:
    """Return for each batch and dtype how many settings are within the limits, and the ratios."""
    rows = []
    for dtype, stimuli in sorted({(row["dtype"], row["stimuli"]) for row in record["rows"]}):
        chosen = [row for row in record["rows"] if (row["dtype"], row["stimuli"]) == (dtype, stimuli)]
        cells = [dtype, str(stimuli), f"{sum(row['ratio'] <= limit(row) for row in chosen)} of {len(chosen)}"]
        rows.append([*cells, *(spread(chosen, key, ".2f") for key in ("ratio", "free_ratio", "loop_ms"))])
    words = (
        f"An exact-gradient step of small networks, n = {UNITS[0]} to {UNITS[-1]}, radius {RADII[0]} to {RADII[-1]}: its time "
        "over the time of a plain NumPy loop, least to largest (median). "
        f"The limit is {LIMIT} where the loop takes {SHORT:g} ms or more, else {SHORT_LIMIT}"
    )
    headings = ["dtype", "stimuli", "within the limit", "ratio in `train`", "ratio in a loop of one's own", "the loop (ms)"]
    return f"{measured(words, record)}\n\n{table(headings, rows)}"


def draw_small(rows: list[Row], path: Path) -> None:
    """Draw the ratios to the loop as heat maps with numbers, a panel for each dtype and batch."""
    mpl.use("Agg")
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(len(DTYPES), len(STIMULI), sharex=True, sharey=True)
    for (line, dtype), (column, stimuli) in product(enumerate(DTYPES), enumerate(STIMULI)):
        axes, ratios = panels[line, column], np.full((len(UNITS), len(RADII)), np.nan)
        for row in rows:
            there = row["units"] in UNITS and row["radius"] in RADII
            if there and (row["dtype"], row["stimuli"]) == (dtype, stimuli):
                place = UNITS.index(row["units"]), RADII.index(row["radius"])
                ratios[place] = row["ratio"]
                axes.text(place[1], place[0], f"{row['ratio']:.2f}", ha="center", va="center", fontsize=7)
        image = axes.imshow(ratios, norm=LogNorm(0.2, 5), cmap="RdBu_r", origin="lower", aspect="auto")
        axes.set_title(f"{dtype}, {stimuli} stimul{'us' if stimuli == 1 else 'i'}", fontsize=9)
        axes.set_xticks(range(len(RADII)), [str(radius) for radius in RADII])
        axes.set_yticks(range(len(UNITS)), [str(units) for units in UNITS])
    figure.supxlabel("spectral radius")
    figure.supylabel("units n")
    bar = figure.colorbar(image, ax=panels, label="time of a step / plain NumPy loop", format="{x:g}", ticks=TICKS)
    bar.minorticks_off()
    save_figure(figure, path)
