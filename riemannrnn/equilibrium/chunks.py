"""Every core at work: a batch in chunks of rows, a thread each, BLAS held to one thread meanwhile; and its memory kept.

NumPy's products use all cores but its elementwise work does not, and takes as long; it releases the interpreter lock in both.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import cache
from typing import TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from manifolds import Array
from manifolds.arrays import Point, map_arrays
from manifolds.linear_algebra import share_rows
from riemannrnn.workers import busy_core, cores, keep_to_one_core, one_blas_thread, parts, submitted

Result = TypeVar("Result")

LARGEST_BLOCK = 2**25 - 2**20
"""Bytes of the largest block that glibc takes as a measure of what to keep, but for some margin."""

MOST_ROWS, FEWEST_ROWS = 512, 64
"""Rows of a chunk: few enough for the arrays of an iteration to stay in cache, enough for a product to be efficient."""

WORTHWHILE, HELD = 2**24, 2**18
"""Multiplications of one product, batch × n², from which on threads pay; and from which on those of BLAS do harm."""


def map_chunks(function: Callable[[slice], Result], like: Array, most: int | None = MOST_ROWS) -> list[Result]:
    """Return what a function makes of chunks of the rows of `like`, given as slices, in order.

    Arrays that are not NumPy's, and small batches, are one chunk on the calling thread. A chunk has `most` rows at most; with
    None there is one for each core, or for each of the parts of `divided_into`. The calling thread works, too: waking another
    takes a while.
    """
    batch = like.shape[0]
    if not worthwhile(like):
        return [function(slice(0, batch))]
    size = min(most or batch, max(FEWEST_ROWS, -(-batch // parts())))
    starts = range(0, batch, size)
    results: dict[int, Result] = {}
    waiting = iter(starts)  # shared by the threads

    def work() -> None:
        try:
            for start in waiting:
                results[start] = function(slice(start, min(start + size, batch)))
        finally:
            deque(waiting, maxlen=0)  # after an error no thread begins another

    with one_blas_thread():
        # NumPy's settings of errors go with the work.
        others = [submitted(_pool, copy_context().run, work) for _ in range(min(cores(), len(starts)) - 1)]
        try:
            with busy_core():
                work()
        finally:
            begun = [other for other in others if not other.cancel()]  # a pool that others keep busy is not waited for
            wait(begun)
        for other in begun:
            other.result()
    return [results[start] for start in starts]


def product(a: Array, b: Array) -> Array:
    """Return a @ b, the rows of a shared among the cores."""
    if not worthwhile(a):
        return a @ b
    xp = array_namespace(a)
    result = xp.empty((a.shape[0], b.shape[1]), dtype=xp.result_type(a, b), device=device(a))
    map_chunks(lambda rows: xp.matmul(a[rows, :], b, out=result[rows, :]), a)
    return result


def share_where_held(function: Callable[[slice], Result], like: Array) -> list[Result]:
    """Return what a function makes of rows, shared among the cores while BLAS is held; else it does that itself."""
    return map_chunks(function, like, None) if one_blas_thread().held else [function(slice(None))]


def summed(function: Callable[..., Point], *arrays: Array) -> Point:
    """Return what a function makes of arrays of stimuli, where it sums over stimuli; these are shared among the cores."""
    with held(arrays[0]):
        parts = map_chunks(lambda rows: function(*(array[rows, ...] for array in arrays)), arrays[0], None)
    return map_arrays(lambda *terms: sum(terms), *parts)


def held(like: Array) -> AbstractContextManager[None]:
    """Return the context for several products of an array of shape (batch, n): BLAS has one thread, where more would do harm.

    Its threads wait for the next product in a busy loop, and would take a core from what follows, and on a machine with other
    work wait for one themselves.
    """
    batch, n = like.shape
    harmful = batch * n * n >= HELD and is_numpy_array(like) and parts() > 1
    return one_blas_thread() if harmful else nullcontext()


def worthwhile(like: Array) -> bool:
    """Tell whether the rows of an array of shape (batch, n) are worth threads; within a chunk, whose core is busy, never."""
    batch, n = like.shape
    if batch * n * n < WORTHWHILE or batch < 2 * FEWEST_ROWS:
        return False
    return is_numpy_array(like) and parts() > 1


def keep_freed_memory() -> None:
    """Have the C library keep what one step frees for the next, in place of thousands of pages given back and fetched again.

    glibc gives back what is free at the end of a heap, where that is more than twice the largest block so far that was mapped
    for itself and freed; it looks at blocks below 32 MB only. This one is never touched and takes no memory.
    """
    np.empty(LARGEST_BLOCK, np.uint8)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "riemannrnn", initializer=keep_to_one_core)


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads; Windows has no forks
    os.register_at_fork(after_in_child=_pool.cache_clear)
keep_freed_memory()
share_rows(share_where_held)
