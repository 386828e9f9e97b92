"""Long work in another thread, with a progress bar and a cancel button."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import Any

import panel as pn

from riemannrnn.explorer import widgets
from riemannrnn.progress import Progress
from riemannrnn.runtime import one_blas_thread

SHOWN_EVERY = 0.2
"""Seconds between two updates of the progress bar."""


class CancelledError(Exception):
    """Long work was cancelled."""


class Background:
    """Runs one piece of work at a time for a window.

    Parameters
    ----------
    document
        The document of the window; its thread receives the results. None, as in a test: the work runs immediately.

    Attributes
    ----------
    row
        A progress bar and a cancel button, visible while work runs.
    """

    def __init__(self, document: Any) -> None:
        self._document = document
        self._bar = widgets.Progress(value=0, max=100, width=150, visible=False)
        self._button = widgets.make.Button(label="Cancel", width=80, visible=False)
        self._button.on_click(lambda event: self.cancel())
        self.row = pn.Row(self._bar, self._button)
        self._workers = ThreadPoolExecutor(1, "riemannrnn-explorer")
        self._stop = Event()

    @property
    def busy(self) -> bool:
        """Whether work is running."""
        return bool(self._button.visible)

    def start(self, work: Callable[[Progress], Any], done: Callable[[Any], None]) -> None:
        """Cancel the running work, and start new work.

        Parameters
        ----------
        work
            Called in another thread with a callback for its progress. The callback raises an error when the work is cancelled.
        done
            Called in the thread of the window with the result.
        """
        self.cancel()
        stop = self._stop = Event()
        told = monotonic()

        def progress(share: float) -> None:
            nonlocal told
            if stop.is_set():
                raise CancelledError
            if monotonic() - told > SHOWN_EVERY:
                told = monotonic()
                self._later(lambda: self._show(stop, share))

        def held() -> Any:
            with one_blas_thread():
                return work(progress)

        if self._document is None:
            done(held())
            return
        self._bar.value, self._button.visible = 0, True
        future = self._workers.submit(held)
        future.add_done_callback(lambda ended: self._later(lambda: self._deliver(stop, ended, done)))

    def cancel(self) -> None:
        """Cancel the running work."""
        self._stop.set()
        self._bar.visible = self._button.visible = False

    def close(self, wait: bool = False) -> None:
        """Cancel the running work, and end the thread; with `wait` return when it has ended."""
        self._stop.set()
        self._workers.shutdown(wait=wait, cancel_futures=True)

    def _show(self, stop: Event, share: float) -> None:
        if not stop.is_set():
            self._bar.param.update(value=int(100 * share), visible=True)

    def _deliver(self, stop: Event, future: "Future[Any]", done: Callable[[Any], None]) -> None:
        if stop.is_set() or future.cancelled():
            return
        self._bar.visible = self._button.visible = False
        done(future.result())

    def _later(self, action: Callable[[], None]) -> None:
        with suppress(RuntimeError, AttributeError):  # the window was closed in the meantime
            self._document.add_next_tick_callback(action)
