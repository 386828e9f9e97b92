"""Threads for work that is independent: one a core, BLAS held to one thread meanwhile."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, local

from threadpoolctl import threadpool_limits

_local = local()


def cores() -> int:
    """Return how many cores this process may use: all of the machine, or those that it was given."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_to_one_core() -> None:
    """Declare the calling thread one of as many as there are cores, so that it shares its work with no others."""
    _local.busy = True


@contextmanager
def busy_core() -> Iterator[None]:
    """Declare the calling thread such a one while inside."""
    before, _local.busy = on_a_busy_core(), True
    try:
        yield
    finally:
        _local.busy = before


def on_a_busy_core() -> bool:
    """Tell whether the calling thread is one of those."""
    return getattr(_local, "busy", False)


@contextmanager
def workers(most: int | None = None) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Yield a pool, one thread a core or `most`, and an event that is set when the caller leaves, so that after Ctrl-C all end.

    Matrices of a few hundred rows are too small for BLAS to share among cores: its threads would wait for each other, not work.
    """
    stop = Event()
    threads = ThreadPoolExecutor(cores(), initializer=keep_to_one_core) if most is None else ThreadPoolExecutor(most)
    with threadpool_limits(1, "blas"), threads as pool:
        try:
            yield pool, stop
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
