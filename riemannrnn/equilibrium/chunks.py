"""Every core at work: a batch in chunks of rows, a thread each, BLAS held to one thread meanwhile.

NumPy's products use all cores but its elementwise work does not, and takes as long; it releases the interpreter lock in both.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, TypeVar

from array_api_compat import array_namespace, device, is_numpy_array
from threadpoolctl import ThreadpoolController

from manifolds import Array

Result = TypeVar("Result")

MOST_ROWS, FEWEST_ROWS = 256, 64
"""Rows of a chunk: few enough for the arrays of an iteration to stay in cache, enough for a product to be efficient."""

WORTHWHILE = 2**22
"""Multiplications of one product, batch × n², from which on threads pay."""


def map_chunks(function: Callable[[Array], Result], like: Array) -> list[Result]:
    """Return what a function makes of chunks of the rows of `like`, given by their indices, in order.

    Arrays that are not NumPy's, and small batches, are one chunk on the calling thread.
    """
    xp = array_namespace(like)
    batch, n = like.shape
    rows = xp.arange(batch, device=device(like))
    cores = os.cpu_count() or 1
    if not is_numpy_array(like) or cores == 1 or batch * n * n < WORTHWHILE or batch < 2 * FEWEST_ROWS:
        return [function(rows)]
    size = min(MOST_ROWS, max(FEWEST_ROWS, -(-batch // cores)))
    with _one_blas_thread:
        return list(_pool().map(function, [rows[start : start + size] for start in range(0, batch, size)]))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="riemannrnn")


class _OneBlasThread:
    """Holds BLAS to one thread while any caller is inside; the limit is global, so that only the last to leave lifts it."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._controller: ThreadpoolController | None = None
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._controller = self._controller or ThreadpoolController()
                self._limit = self._controller.limit(limits=1, user_api="blas")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


_one_blas_thread = _OneBlasThread()
