"""How time and memory grow: one evaluation of a cost, a task of a partitioned cost, a cell of a sweep, and two workers."""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.records import Row
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork
from riemannrnn.cost import PartitionedCost
from riemannrnn.runtime import one_core
from riemannrnn.sweep import Grid, SweepResult, local_client, sweep
from riemannrnn.sweep.cell import cell_keys

UNITS, DTYPES = (50, 100, 200, 400), ("float32", "float64")
STIMULI, INPUTS, CLASSES, RADIUS = 1024, 64, 10, 0.5

PARTITIONS = (8, 128)
"""Numbers of partitions; the time of a task is what one more takes."""

GRID = Grid(
    {
        "network": {"units": 40},
        "data": {"training_size": 300},
        "train": {"rule": "adam", "batch_size": 64, "epochs": 3, "record": False},
    },
    {
        "train.manifold": ["euclidean", "resolvent", "monotone", "scaled-monotone"],
        "train.learning_rate": [0.001, 0.003, 0.01, 0.03, 0.1],
    },
    replicates=3,
)
"""The sweep that two workers share: four manifolds, five rates and three seeds on the digits."""

SMALLEST = Grid(
    {
        "network": {"units": 12},
        "data": {"training_size": 20},
        "train": {"rule": "adam", "manifold": "monotone", "batch_size": 20},
    },
    {"train.learning_rate": [0.001, 0.003, 0.01, 0.03, 0.1]},
    replicates=2,
)
"""Cells that hardly train."""


def evaluation_row(units: int, dtype: str, repeats: int) -> Row:
    """Return the time of J, ∇J and a product with the Hessian for a stimulus, and the memory for a stimulus and unit."""
    network = RateNetwork(units, INPUTS, CLASSES, seed=0, dtype=dtype)
    generator = np.random.default_rng(0)
    stimuli = generator.standard_normal((STIMULI, INPUTS)).astype(dtype)
    vector = generator.standard_normal((units, units)).astype(dtype)
    weights, loss = network.initial_weights(RADIUS), CrossEntropy(np.arange(STIMULI) % CLASSES)
    times: dict[str, list[float]] = {"cost": [], "gradient": [], "hessian": []}
    with one_core():
        for _ in range(repeats + 1):  # the first is warm-up
            cost = FixedPointCost(network, stimuli, loss)
            works: tuple[Callable[[], object], ...] = (
                partial(cost, weights),
                partial(cost.gradient, weights),
                partial(cost.hessian, weights, vector),
            )
            for name, work in zip(times, works, strict=True):
                began = time.process_time()
                work()
                times[name].append(time.process_time() - began)
        kept, peak = memory(FixedPointCost(network, stimuli, loss), weights, vector)
    each = {f"{name}_us": 1e6 * median(found[1:]) / STIMULI for name, found in times.items()}
    return {"work": "evaluation", "units": units, "dtype": dtype, **each, "kept_bytes": kept, "peak_bytes": peak}


def memory(cost: FixedPointCost, weights: Any, vector: Any) -> tuple[float, float]:
    """Return the bytes for a stimulus and unit that an evaluation keeps, and those at its peak."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cost.hessian(weights, vector)
        kept, peak = (used - before for used in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    entries = STIMULI * cost.model.n_units
    return kept / entries, peak / entries


def task_row() -> Row:
    """Return what client, scheduler and worker need together for one more partition of a cost, beside its computation."""
    import dask.array as da  # an extra

    network, times = RateNetwork(2, 2, 2, seed=0), []
    weights = network.initial_weights(RADIUS)
    with local_client(1) as client:
        for count in PARTITIONS:
            stimuli = da.ones((count, 2), chunks=(1, 2))
            cost = PartitionedCost(network, stimuli, np.arange(count) % 2, client=client)
            cost(weights)  # the workers import
            began = time.perf_counter()
            for step in range(1, 6):
                cost(weights * (1 - 0.1 * step))
            times.append((time.perf_counter() - began) / 5)
    return {"work": "task", "units": 2, "dtype": "float64", "task_ms": 1e3 * (times[1] - times[0]) / np.diff(PARTITIONS).item()}


def sweep_row() -> Row:
    """Return the seconds of a sweep in one process and on two workers, and what a cell costs beside its training."""
    cells = GRID.cells()
    began = time.perf_counter()
    cell_keys(cells)
    keys = (time.perf_counter() - began) / len(cells)
    with TemporaryDirectory() as folder:
        alone, seconds = timed(lambda: sweep(GRID, output=Path(folder) / "alone"))
        with local_client(2) as client:
            client.wait_for_workers(2)
            shared, together = timed(lambda: sweep(GRID, client, output=Path(folder) / "together"))
        size = sum(path.stat().st_size for path in (Path(folder) / "alone" / "cells").rglob("*") if path.is_file())
    return {
        "work": "sweep",
        "units": 40,
        "dtype": "float64",
        "cells": len(cells),
        "seconds": seconds,
        "seconds_together": together,
        "faster": seconds / together,
        "equal": same(alone, shared),
        "key_ms": 1e3 * keys,
        "cell_kB": 1e-3 * size / len(cells),
        "cell_s": smallest_cell(),
    }


def smallest_cell() -> float:
    """Return the seconds of a cell that hardly trains: its files, its figure and its row."""
    with TemporaryDirectory() as folder:
        result, seconds = timed(lambda: sweep(SMALLEST, output=Path(folder) / "sweep"))
    return seconds / len(result.cells)


def timed(run: Callable[[], SweepResult]) -> tuple[SweepResult, float]:
    """Return the result of a sweep, and its seconds."""
    began = time.perf_counter()
    return run(), time.perf_counter() - began


def same(one: SweepResult, other: SweepResult) -> bool:
    """Tell whether two sweeps have the same values, bit for bit; their times differ."""
    left, right = (each.to_dataset().drop_vars(["seconds", "step_seconds"], errors="ignore") for each in (one, other))
    return bool(left.identical(right))


def scaling_rows(repeats: int) -> Iterator[Row]:
    """Yield the rows one after the other."""
    for units in UNITS:
        for dtype in DTYPES:
            yield evaluation_row(units, dtype, repeats)
    yield task_row()
    yield sweep_row()
