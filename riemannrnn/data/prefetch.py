"""Prefetching: one thread prepares the next item while the caller uses the current one."""

from collections.abc import Callable, Generator
from contextlib import closing, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeAlias, TypeVar

Item = TypeVar("Item")

_Queued: TypeAlias = tuple[Item] | BaseException | None
"""An item, an error, or the end."""

_PATIENCE = 0.1
"""Seconds after which a waiting thread checks whether it has to stop."""


def prefetched(make: Callable[[], Generator[Item, None, None]]) -> Generator[Item, None, None]:
    """Yield the items of an iterator, which runs in a thread and is one item ahead.

    The order and the items do not depend on timing. The thread ends when the generator is closed or collected, when the caller
    is interrupted inside it, and when the iterator ends. An error of the iterator is raised to the caller, after the items
    before it.

    Parameters
    ----------
    make
        Function that returns the iterator; it is called in the thread.
    """
    items: Queue[_Queued[Item]] = Queue(maxsize=1)
    stop = Event()
    thread = Thread(target=_fill, args=(make, items, stop), name="riemannrnn-data", daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stop.set()
        while thread.is_alive():
            with suppress(Empty):  # the thread may wait for room
                items.get_nowait()
            thread.join(_PATIENCE)


def _fill(make: Callable[[], Generator[Item, None, None]], items: "Queue[_Queued[Item]]", stop: Event) -> None:
    end: BaseException | None = None
    try:
        with closing(make()) as iterator:
            for item in iterator:
                if not _put(items, (item,), stop):
                    return
                del item
    except BaseException as error:
        end = error
    _put(items, end, stop)


def _put(items: "Queue[_Queued[Item]]", item: "_Queued[Item]", stop: Event) -> bool:
    """Put an item into the queue; return False if the thread has to stop."""
    while not stop.is_set():
        try:
            items.put(item, timeout=_PATIENCE)
        except Full:
            continue
        break
    return not stop.is_set()
