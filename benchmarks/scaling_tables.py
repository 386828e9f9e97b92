"""The tables of the page on scaling: what was measured, and one evaluation at 10⁹ stimuli, calculated from it."""

from pathlib import Path

from benchmarks import records
from benchmarks.markdown import Record, measured, table
from benchmarks.records import Row

STIMULI, UNITS, HELD = 10**9, 200, 2
"""The evaluation that is calculated, and how many partitions each worker holds."""

CLUSTERS = (100, 1_000)
"""Numbers of workers."""


def scaling(folder: Path = records.RESULTS) -> str:
    """Return the measured tables and the calculated one; empty if the benchmark has not been run."""
    record = records.read("scaling", folder)
    if record is None:
        return ""
    return "\n".join(
        [evaluations(record), *map(task, of(record, "task")), *map(sweeps, of(record, "sweep")), calculated(record)]
    )


def of(record: Record, work: str) -> list[Row]:
    """Return the rows of one kind of work."""
    return [row for row in record["rows"] if row["work"] == work]


def evaluations(record: Record) -> str:
    """Return time and memory of one evaluation, a line for each size and dtype."""
    words = (
        "One evaluation on one core: 1,024 stimuli, 64 inputs, `tanh`, spectral radius 0.5. Processor time is in microseconds "
        "for each stimulus, memory in bytes for each stimulus and unit"
    )
    rows = [
        [
            *(str(row["units"]), row["dtype"], *(f"{row[f'{name}_us']:.2g}" for name in ("cost", "gradient", "hessian"))),
            *(f"{row['kept_bytes']:.0f}", f"{row['peak_bytes']:.0f}"),
        ]
        for row in of(record, "evaluation")
    ]
    headings = ["units", "dtype", "J", "∇J after J", "Hessian × V after ∇J", "kept", "at the peak"]
    return f"{measured(words, record)}\n\n{table(headings, rows)}"


def task(row: Row) -> str:
    """Return what a partition costs beside its computation."""
    return (
        f"One more partition of a `PartitionedCost` takes {row['task_ms']:.2g} ms of client, scheduler and worker together, "
        "beside its computation.\n"
    )


def sweeps(row: Row) -> str:
    """Return how a sweep gains from two workers, and what a cell costs."""
    equal = "with the same values, bit for bit" if row["equal"] else "with other values"
    return (
        f"A sweep of {row['cells']} cells (4 manifolds, 5 rates, 3 seeds) took {row['seconds']:.0f} s in one process, "
        f"and {row['seconds_together']:.0f} s on two workers: {row['faster']:.2f} times as fast, {equal}. A cell that hardly "
        f"trains takes {row['cell_s']:.2g} s, and {row['key_ms']:.2g} ms of the client for its key. Its files have "
        f"{row['cell_kB']:.0f} kB.\n"
    )


def calculated(record: Record) -> str:
    """Return what J and ∇J at one W need at 10⁹ stimuli."""
    found = [row for row in of(record, "evaluation") if (row["units"], row["dtype"]) == (UNITS, "float32")]
    tasks = of(record, "task")
    if not found or not tasks:
        return ""
    row, task_ms = found[0], tasks[0]["task_ms"]
    core_seconds = STIMULI * 1e-6 * (row["cost_us"] + row["gradient_us"])
    weights = UNITS**2 * 4
    lines: dict[str, list[str]] = {}
    for workers in CLUSTERS:
        partitions = HELD * workers
        count = 2 * partitions + partitions // 7
        kept = row["kept_bytes"] * UNITS * STIMULI / workers
        peak = kept + (row["peak_bytes"] - row["kept_bytes"]) * UNITS * STIMULI / partitions
        cells = {
            f"computation, {core_seconds:,.0f} core-seconds": f"{core_seconds / workers:.0f} s",
            "partitions, two for each worker": f"{partitions:,} of {STIMULI // partitions:,}",
            "tasks, and their time": f"{count:,}, {1e-3 * task_ms * count:.1f} s",
            "kept by each worker": f"{1e-9 * kept:.3g} GB",
            "at its peak": f"{1e-9 * peak:.3g} GB",
            f"W to all workers, {1e-3 * weights:.0f} kB each": f"{1e-6 * weights * workers:.0f} MB",
            "terms of ∇J between workers, at most": f"{1e-6 * weights * partitions:.0f} MB",
            "received by the client": f"{1e-3 * (weights + 100 * partitions):.0f} kB",
        }
        for name, value in cells.items():
            lines.setdefault(name, []).append(value)
    words = f"**10⁹ stimuli, calculated:** J and ∇J at one W, {UNITS} units, float32."
    headings = ["", *(f"{workers:,} workers" for workers in CLUSTERS)]
    return f"{words}\n\n{table(headings, ([name, *values] for name, values in lines.items()))}"
