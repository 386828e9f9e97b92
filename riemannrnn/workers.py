"""Threads for work that is independent: one a core, BLAS held to one thread meanwhile."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from math import inf
from threading import Event, Lock, local
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

_local = local()
_parts: ContextVar[int | None] = ContextVar("parts", default=None)

Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores this process may use: all of the machine, or those that it was given."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_memory() -> float:
    """Return the bytes of memory of this machine; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return inf


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
    with one_blas_thread(), threads as pool:
        try:
            yield pool, stop
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


class _OneBlasThread(AbstractContextManager[None]):
    """Holds BLAS to one thread while any caller is inside; the limit is global, so that only the last to leave lifts it.

    threadpoolctl lets only the thread that set a limit lift it. Callers come from many threads, so that one thread does both.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limits: Any = None

    @property
    def held(self) -> bool:
        """Whether any caller is inside."""
        return self._inside > 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                submitted(_keeper, self._limit).result()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                submitted(_keeper, self._lift).result()

    def _limit(self) -> None:
        if self._limits is None:  # else Ctrl-C kept a caller from entering after all
            self._limits = _controller().limit(limits=1, user_api="blas")
            self._limits.__enter__()

    def _lift(self) -> None:
        self._limits.__exit__(None, None, None)
        self._limits = None


def submitted(pool: Any, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Have a pool, given by the cached function that makes it, call a function.

    Ctrl-C while a thread begins may leave one that its pool does not know. It would wait for ever, and Python for it: the pool
    is then told to end, and the next call makes another.
    """
    try:
        future: Future[Result] = pool().submit(function, *arguments)
    except BaseException:
        pool().shutdown(wait=False)
        pool.cache_clear()
        raise
    return future


@cache
def _keeper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="riemannrnn-blas")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def one_blas_thread() -> _OneBlasThread:
    """Return the context in which BLAS has one thread, whoever else is inside."""
    return _OneBlasThread()


def _one_context() -> None:
    """Make the context before threads that ask for it first could make two; a forked child has none of its parent's threads."""
    _keeper.cache_clear()
    one_blas_thread.cache_clear()
    one_blas_thread()


_one_context()
if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_one_context)
