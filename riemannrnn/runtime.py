"""Cores, threads and memory: what the process is told about them, when, and for how long. Importing this changes nothing.

NumPy's products use all cores, but its elementwise work does not, and takes as long. It releases the interpreter lock in both.
So a batch is worked on in chunks of rows, a thread each, and BLAS has one thread meanwhile.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import cache
from math import inf
from threading import Event, Lock, local
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array
from threadpoolctl import ThreadpoolController

from manifolds import Array
from manifolds.linear_algebra import share_rows, sharing_rows
from manifolds.points import Point, map_arrays

Result = TypeVar("Result")

LARGEST_BLOCK = 2**25 - 2**20
"""Bytes of the largest block that glibc takes as a measure of what to keep, but for some margin."""

MOST_ROWS, FEWEST_ROWS = 512, 64
"""Rows of a chunk: few enough for the arrays of an iteration to stay in cache, enough for a product to be efficient."""

CHUNK_BYTES = 2**25
"""Bytes of the rows of a chunk. An iteration works on about a dozen arrays of this size."""

WORTHWHILE, HELD = 2**24, 2**18
"""Multiplications of one product, batch × n², from which on threads pay; and from which on those of BLAS do harm."""

_local = local()
_parts: ContextVar[int | None] = ContextVar("parts", default=None)


def cores() -> int:
    """Return how many cores this process may use: all of the machine, or those that it was given."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_memory() -> float:
    """Return the bytes of memory of this machine; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return inf


@cache
def keep_freed_memory() -> None:
    """Have the C library keep what one step frees for the next, in place of thousands of pages given back and fetched again.

    glibc gives back what is free at the end of a heap, where that is more than twice the largest block so far that was mapped
    for itself and freed. It looks at blocks below 32 MB only. This one is never touched and takes no memory.
    """
    np.empty(LARGEST_BLOCK, np.uint8)


def parts() -> int:
    """Return into how many parts a batch is divided that all cores share: one for each, unless `divided_into` says otherwise.

    The last bits of results depend on it: the product of a part is rounded differently from the same rows of the whole product.
    """
    return 1 if on_a_busy_core() else _parts.get() or cores()


@contextmanager
def divided_into(count: int) -> Iterator[None]:
    """Divide batches into this many parts while inside, on any number of cores."""
    token = _parts.set(count)
    try:
        yield
    finally:
        _parts.reset(token)


@contextmanager
def busy_core() -> Iterator[None]:
    """Declare the calling thread one of as many as there are cores, so that it shares its work with no others."""
    before, _local.busy = on_a_busy_core(), True
    try:
        yield
    finally:
        _local.busy = before


def on_a_busy_core() -> bool:
    """Tell whether the calling thread is one of those."""
    return getattr(_local, "busy", False)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep the calling thread to one core while inside: BLAS has one thread, and batches are not shared.

    Results are then the same to the bit on any number of cores.
    """
    with busy_core(), divided_into(1), one_blas_thread():
        yield


def _keep_to_one_core() -> None:
    _local.busy = True


class _Threads:
    """A pool of threads that is made when it is first used. A forked child makes its own.

    Parameters
    ----------
    count
        Returns the number of threads.
    name
        How their names begin.
    begin
        What each does first.
    """

    def __init__(self, count: Callable[[], int], name: str, begin: Callable[[], None] | None = None) -> None:
        self._count, self._name, self._begin = count, name, begin
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have one of the threads call a function.

        Ctrl-C while a thread begins may leave one that its pool does not know. It would wait for ever, and Python for it: the
        pool is then told to end, and the next call makes another.
        """
        if self._pool is None or self._process != os.getpid():
            self._pool, self._process = ThreadPoolExecutor(self._count(), self._name, self._begin), os.getpid()
        pool = self._pool
        try:
            return pool.submit(function, *arguments)
        except BaseException:
            pool.shutdown(wait=False)
            self._pool = None
            raise


class _BlasLimit(AbstractContextManager[None]):
    """Holds BLAS to one thread while any caller is inside; the limit is global, so that only the last to leave lifts it.

    threadpoolctl lets only the thread that set a limit lift it. Callers come from many threads, so that one thread does both.
    A forked child has one thread, which may set its own limit.
    """

    def __init__(self) -> None:
        self._keeper = _Threads(lambda: 1, "riemannrnn-blas")
        self._begin_in_this_process()

    def _begin_in_this_process(self) -> None:
        self._process, self._lock, self._inside = os.getpid(), Lock(), 0
        self._limits: Any = None

    @property
    def held(self) -> bool:
        """Whether any caller is inside."""
        return self._inside > 0

    def __enter__(self) -> None:
        if self._process != os.getpid():
            self._begin_in_this_process()
        with self._lock:
            if self._inside == 0:
                self._keeper.submit(self._limit).result()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._keeper.submit(self._lift).result()

    def _limit(self) -> None:
        if self._limits is None:  # else Ctrl-C kept a caller from entering after all
            self._limits = _controller().limit(limits=1, user_api="blas")
            self._limits.__enter__()

    def _lift(self) -> None:
        self._limits.__exit__(None, None, None)
        self._limits = None


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


BLAS = _BlasLimit()
"""The limit of BLAS in this process."""

POOL = _Threads(cores, "riemannrnn", _keep_to_one_core)
"""The threads that share batches."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread while inside, and share the rows of the products of `manifolds` among the cores.

    Matrices of a few hundred rows are too small for BLAS to share: its threads would wait for each other, not work.
    """
    with BLAS, sharing_rows(_shared_among_cores):
        yield


@contextmanager
def workers(most: int | None = None) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Yield a pool, one thread a core or `most`, and an event that is set when the caller leaves: after Ctrl-C all end."""
    stop = Event()
    begin = _keep_to_one_core if most is None else _share_rows_in_this_thread
    with one_blas_thread(), ThreadPoolExecutor(most or cores(), initializer=begin) as pool:
        try:
            yield pool, stop
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _share_rows_in_this_thread() -> None:
    share_rows(_shared_among_cores)


def _shared_among_cores(function: Callable[[slice], Array], like: Array) -> list[Array]:
    return map_chunks(function, like, None)


def map_chunks(function: Callable[[slice], Result], like: Array, most: int | None = MOST_ROWS) -> list[Result]:
    """Return what a function makes of chunks of the rows of `like`, given as slices, in order.

    Arrays that are not NumPy's are one chunk on the calling thread. So are small batches, as far as they have `CHUNK_BYTES` at
    most. A chunk has `most` rows at most, and `CHUNK_BYTES`. With None there is one for each core, or for each of the parts of
    `divided_into`. The calling thread works, too: waking another takes a while.
    """
    batch, largest = like.shape[0], _most_rows(like)
    if not worthwhile(like):
        return [function(slice(start, min(start + largest, batch))) for start in range(0, max(batch, 1), largest)]
    size = min(most or batch, largest, max(FEWEST_ROWS, -(-batch // parts())))
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
        others = [POOL.submit(copy_context().run, work) for _ in range(min(cores(), len(starts)) - 1)]
        try:
            with busy_core():
                work()
        finally:
            begun = [other for other in others if not other.cancel()]  # a pool that others keep busy is not waited for
            wait(begun)
        for other in begun:
            other.result()
    return [results[start] for start in starts]


def _most_rows(like: Array) -> int:
    """Return how many rows of an array have `CHUNK_BYTES`; all of them on a device."""
    batch = max(int(like.shape[0]), 1)
    if not is_numpy_array(like):
        return batch
    row_bytes = int(like.nbytes) // batch
    return max(1, CHUNK_BYTES // max(row_bytes, 1))


def product(a: Array, b: Array) -> Array:
    """Return a @ b, the rows of a shared among the cores."""
    if not worthwhile(a):
        return a @ b
    xp = array_namespace(a)
    result = xp.empty((a.shape[0], b.shape[1]), dtype=xp.result_type(a, b), device=device(a))
    map_chunks(lambda rows: xp.matmul(a[rows, :], b, out=result[rows, :]), a)
    return result


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
    keep_freed_memory()
    batch, n = like.shape
    harmful = batch * n * n >= HELD and is_numpy_array(like) and parts() > 1
    return one_blas_thread() if harmful else nullcontext()


def worthwhile(like: Array) -> bool:
    """Tell whether the rows of an array of shape (batch, n) are worth threads; within a chunk, whose core is busy, never."""
    batch, n = like.shape
    if batch * n * n < WORTHWHILE or batch < 2 * FEWEST_ROWS:
        return False
    return is_numpy_array(like) and parts() > 1
