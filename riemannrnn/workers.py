"""Threads for work that is independent: one a core, BLAS held to one thread meanwhile."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from threadpoolctl import threadpool_limits


@contextmanager
def workers(most: int | None = None) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Yield a pool, one thread a core or `most`, and an event that is set when the caller leaves, so that after Ctrl-C all end.

    Matrices of a few hundred rows are too small for BLAS to share among cores: its threads would wait for each other, not work.
    """
    stop = Event()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(most or os.cpu_count()) as pool:
        try:
            yield pool, stop
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
