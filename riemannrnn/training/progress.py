"""A progress bar for training, on the standard error of terminals and in notebooks."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite

from rich.console import Console

from riemannrnn.progress import progress_bars
from riemannrnn.training.history import History

Show = Callable[[int, History], None]

PERIOD = 0.1
"""Shortest time between two updates of a bar, in seconds."""


@contextmanager
def shown(progress: bool | None, steps: int, done: int = 0) -> Iterator[tuple[Show, ...]]:
    """Show a bar while training runs, and yield the callbacks that update it: one, or none if no bar is shown.

    The callback draws the bar. No extra thread disturbs the threads of training.

    Parameters
    ----------
    progress
        Whether to show the bar. None: show it if the standard error is a terminal, or in a notebook.
    steps, done
        Number of steps of the run, and number of steps already done.
    """
    console = Console(stderr=True)
    interactive = console.is_jupyter or (sys.stderr is not None and sys.stderr.isatty())
    if not (interactive if progress is None else progress):
        yield ()
        return
    with progress_bars(console, auto_refresh=False) as bars:
        bar = bars.add_task("first step", total=steps, completed=done)
        bars.refresh()
        last = time.monotonic()

        def show(step: int, history: History) -> None:
            nonlocal last
            now = time.monotonic()
            drawn = step == steps or now - last >= PERIOD
            bars.update(bar, completed=step, description=state(history), refresh=drawn)
            last = now if drawn else last

        yield (show,)


def state(history: History) -> str:
    """Return the state of a run in a line: loss, accuracy, and the spectral abscissa if a guard computed it."""
    parts = [f"loss {history.loss[-1]:.3f}"]
    if history.accuracy:
        parts.append(f"accuracy {100 * history.accuracy[-1]:.0f} %")
    if history.abscissa and isfinite(history.abscissa[-1]):
        parts.append(f"abscissa {history.abscissa[-1]:+.2f}")
    return ", ".join(parts)
