"""Times of contenders in turn: other load of the machine then affects all of them equally."""

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from math import nan

import numpy as np

from manifolds import Array
from riemannrnn.runtime import cores, one_blas_thread
from riemannrnn.training import History

PAUSE = 0.06
"""Seconds between contenders: BLAS threads of the previous contender spin this long and would block a core."""

WARM = 0.12
"""Seconds of each contender before it is timed, like the steps of a training run: after idling, a core is slow for about this
long. A contender that takes longer itself needs no such run."""


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the time of one call by a clock: the wall clock, or `time.process_time`, which counts all threads."""
    began = clock()
    function()
    return clock() - began


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    repeats: int,
    wanted: Mapping[str, int] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of every call, contenders in turn; `wanted` sets fewer repeats for some."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats):
        for name, run in runs.items():
            if repeat < (wanted or {}).get(name, repeats):
                time.sleep(PAUSE)
                began = time.perf_counter()
                while times[name] and times[name][-1] < WARM > time.perf_counter() - began:
                    run()
                times[name].append(seconds(run, clock))
    return times


def ratio(times: list[float], of: list[float]) -> float:
    """Return the median ratio of times that were measured side by side."""
    return statistics.median(a / b for a, b in zip(times, of, strict=False))


class StepClock:
    """Counts the processor time, of all threads, of the steps of a run, without evaluations after each epoch."""

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch, self.marks = per_epoch, [time.process_time()]

    def __call__(self, step: int, history: History) -> None:
        self.marks.append(time.process_time())

    @property
    def seconds(self) -> float:
        """Mean processor time of a step. The last step of each epoch, which includes the evaluation, is not counted."""
        steps = [b - a for number, (a, b) in enumerate(pairwise(self.marks), 1) if number % self.per_epoch]
        return float(np.mean(steps)) if steps else nan


def beside_products(
    run: Callable[[], object], rows: int, matrix: Array, products: float, repeats: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of a run, and of one of its matrix products; its number of products is computed in a row beside it.

    The products use BLAS's threads, or one thread for each core with BLAS limited to one; the faster counts.
    """
    count = max(round(products), 1)
    left = np.random.default_rng(0).standard_normal((rows, len(matrix))).astype(matrix.dtype)
    with ThreadPoolExecutor(cores()) as pool:
        runs: dict[str, Callable[[], object]] = {
            "run": run,
            "threaded": partial(multiply, left, matrix, count),
            "parted": partial(parted, pool, left, matrix, count),
        }
        times = interleaved(runs, repeats)
    fastest = min(times["threaded"], times["parted"], key=statistics.median)
    return times["run"], [each / count for each in fastest]


def multiply(left: Array, matrix: Array, count: int) -> None:
    """Multiply repeatedly."""
    product = np.empty((len(left), matrix.shape[1]), matrix.dtype)
    for _ in range(count):
        np.matmul(left, matrix, out=product)


def parted(pool: ThreadPoolExecutor, left: Array, matrix: Array, count: int) -> None:
    """Multiply repeatedly, with a part of the rows on each core."""
    with one_blas_thread():
        for done in [pool.submit(multiply, part, matrix, count) for part in np.array_split(left, cores())]:
            done.result()
