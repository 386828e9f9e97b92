"""Cores, threads and memory: the settings of the process, and how long they hold. Importing this module changes nothing.

NumPy's products use all cores. Its elementwise work uses one core, and takes about as long. Both release the interpreter lock.
A batch is therefore divided into chunks of rows, one thread for each, while BLAS uses one thread.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
"""Bytes of the largest block that makes glibc keep freed memory, apart from a margin."""

MOST_ROWS, FEWEST_ROWS = 512, 64
"""Rows of a chunk: few enough for the arrays of an iteration to stay in cache, enough for efficient products."""

CHUNK_BYTES = 2**25
"""Bytes of the rows of a chunk. An iteration uses about a dozen arrays of this size."""

WORTHWHILE, HELD = 2**24, 2**18
"""Multiplications of a product, batch × n², above which threads pay off, and above which BLAS threads do harm."""

_local = local()
_parts: ContextVar[int | None] = ContextVar("parts", default=None)


def cores() -> int:
    """Return how many cores this process may use: all cores of the machine, or the cores assigned to it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_memory() -> float:
    """Return the bytes of memory of this machine; infinity if the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return inf


@cache
def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step, instead of returning and fetching thousands of pages.

    glibc returns free memory at the end of a heap if it exceeds twice the largest freed block that had its own mapping. Only
    blocks below 32 MB count. This function allocates and frees one such block; it is never touched and takes no memory.
    """
    np.empty(LARGEST_BLOCK, np.uint8)


def parts() -> int:
    """Return the number of parts of a batch that is shared by all cores: one for each core, or the number of `divided_into`.

    The last bits of results depend on it: the product of a part is rounded differently from the same rows in the whole product.
    """
    return 1 if on_a_busy_core() else _parts.get() or cores()


@contextmanager
def divided_into(count: int) -> Iterator[None]:
    """Divide batches into this many parts, on any number of cores, within a `with` block."""
    token = _parts.set(count)
    try:
        yield
    finally:
        _parts.reset(token)


@contextmanager
def busy_core() -> Iterator[None]:
    """Mark the calling thread as a worker: its matrix products then run on one core."""
    before, _local.busy = on_a_busy_core(), True
    try:
        yield
    finally:
        _local.busy = before


def on_a_busy_core() -> bool:
    """Tell whether the calling thread is marked as a worker."""
    return getattr(_local, "busy", False)


@contextmanager
def one_core() -> Iterator[None]:
    """Use one core for the calling thread, within a `with` block: BLAS has one thread, and batches are not shared.

    Results are then the same to the bit on any machine with any number of cores.
    """
    with busy_core(), divided_into(1), one_blas_thread():
        yield


def _keep_to_one_core() -> None:
    _local.busy = True


class _Threads:
    """A pool of threads that is created on first use. A forked child process creates its own.

    Parameters
    ----------
    count
        Returns the number of threads.
    name
        Prefix of the names of the threads.
    begin
        Called at the start of each thread.
    """

    def __init__(self, count: Callable[[], int], name: str, begin: Callable[[], None] | None = None) -> None:
        self._count, self._name, self._begin = count, name, begin
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Let one of the threads call a function.

        Ctrl-C while a thread starts may leave a thread that its pool does not know. It would wait for ever, and Python for it.
        The pool is then shut down, and the next call creates another.
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
    """Limits BLAS to one thread while any caller is inside. The limit is global, so the last caller to leave lifts it.

    Any thread may set the number of threads of OpenBLAS with threads of its own. Other libraries may have a number for each
    thread, so one thread sets and lifts the limit. A forked child process has one thread, which may set its own limit.
    """

    def __init__(self) -> None:
        self._keeper = _Threads(lambda: 1, "riemannrnn-blas")
        self._begin_in_this_process()

    def _begin_in_this_process(self) -> None:
        self._process, self._lock, self._inside = os.getpid(), Lock(), 0
        self._before: list[int] = []

    @property
    def held(self) -> bool:
        """Whether any caller is inside."""
        return self._inside > 0

    def __enter__(self) -> None:
        if self._process != os.getpid():
            self._begin_in_this_process()
        with self._lock:
            if self._inside == 0:
                self._call(self._limit)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._call(self._lift)

    def _call(self, change: Callable[[], None]) -> None:
        if any_thread_limits():
            change()  # to ask another thread takes longer than a few products of small matrices
        else:
            self._keeper.submit(change).result()

    def _limit(self) -> None:
        if not self._before:  # it is not empty if Ctrl-C interrupted a caller on entry
            self._before = [library.num_threads for library in _libraries()]
        _set_threads([1] * len(self._before))

    def _lift(self) -> None:
        _set_threads(self._before)
        self._before = []


def any_thread_limits() -> bool:
    """Tell whether any thread may set the number of threads of every BLAS library of this process."""
    return all(library.internal_api == "openblas" and library.threading_layer == "pthreads" for library in _libraries())


@cache
def _libraries() -> list[Any]:
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(counts: Sequence[int]) -> None:
    """Set the number of threads of each library, and let other threads set it later (threadpoolctl would refuse)."""
    for library, count in zip(_libraries(), counts, strict=True):
        library.set_num_threads(count)
        getattr(library, "clear_controlling_thread", lambda: None)()  # older versions never refuse


BLAS = _BlasLimit()
"""The limit of BLAS in this process."""

POOL = _Threads(cores, "riemannrnn", _keep_to_one_core)
"""The threads that share batches."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread within a `with` block, and share the rows of products in `manifolds` among the cores.

    Matrices of a few hundred rows are too small for several BLAS threads: these would mostly wait for each other.
    """
    with BLAS, sharing_rows(_shared_among_cores):
        yield


@contextmanager
def workers(most: int | None = None) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Yield a pool, and an event that is set on exit: after Ctrl-C all threads end.

    The pool has `most` threads. By default it has one for each core, and only one if the caller is itself a worker.
    """
    stop = Event()
    begin = _keep_to_one_core if most is None else _share_rows_in_this_thread
    count = most or (1 if on_a_busy_core() else cores())
    with one_blas_thread(), ThreadPoolExecutor(count, initializer=begin) as pool:
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
    """Call a function for chunks of the rows of `like`, given as slices; return the results in order.

    Arrays that are not NumPy arrays are one chunk, computed by the calling thread. The same holds for small batches of at most
    `CHUNK_BYTES`. A chunk has at most `most` rows, and at most `CHUNK_BYTES`. With None there is one chunk for each core, or
    for each of the parts of `divided_into`. The calling thread also computes, because waking another thread takes time.
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
            deque(waiting, maxlen=0)  # after an error no thread starts another chunk

    with one_blas_thread():
        # NumPy's error settings are copied to the threads.
        others = [POOL.submit(copy_context().run, work) for _ in range(min(cores(), len(starts)) - 1)]
        try:
            with busy_core():
                work()
        finally:
            begun = [other for other in others if not other.cancel()]  # do not wait for calls that a busy pool has not started
            wait(begun)
        for other in begun:
            other.result()
    return [results[start] for start in starts]


def _most_rows(like: Array) -> int:
    """Return how many rows of an array have `CHUNK_BYTES`; all rows for an array on a device."""
    batch = max(int(like.shape[0]), 1)
    if not is_numpy_array(like):
        return batch
    row_bytes = int(like.nbytes) // batch
    return max(1, CHUNK_BYTES // max(row_bytes, 1))


def product(a: Array, b: Array) -> Array:
    """Return a @ b, with the rows of a shared among the cores."""
    if not worthwhile(a):
        return a @ b
    xp = array_namespace(a)
    result = xp.empty((a.shape[0], b.shape[1]), dtype=xp.result_type(a, b), device=device(a))
    map_chunks(lambda rows: xp.matmul(a[rows, :], b, out=result[rows, :]), a)
    return result


def summed(function: Callable[..., Point], *arrays: Array) -> Point:
    """Return the result of a function that sums over stimuli, with the stimuli shared among the cores."""
    with held(arrays[0]):
        parts = map_chunks(lambda rows: function(*(array[rows, ...] for array in arrays)), arrays[0], None)
    return map_arrays(lambda *terms: sum(terms), *parts)


def held(like: Array) -> AbstractContextManager[None]:
    """Return the context for several products with an array of shape (batch, n): BLAS has one thread if more would do harm.

    BLAS threads wait for the next product in a busy loop. They would block a core for other work, and on a busy machine they
    would wait for a core themselves.
    """
    keep_freed_memory()
    batch, n = like.shape
    harmful = batch * n * n >= HELD and is_numpy_array(like) and parts() > 1
    return one_blas_thread() if harmful else nullcontext()


def worthwhile(like: Array) -> bool:
    """Tell whether sharing the rows of an array of shape (batch, n) among threads pays off; never within a chunk."""
    batch, n = like.shape
    if batch * n * n < WORTHWHILE or batch < 2 * FEWEST_ROWS:
        return False
    return is_numpy_array(like) and parts() > 1
