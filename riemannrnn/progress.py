"""Progress of long computations: the type of the callback, and progress bars."""

from collections.abc import Callable
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

Progress: TypeAlias = Callable[[float], None]
"""Called with the completed share, from 0 to 1."""


def ignore(share: float) -> None:
    """Do nothing: the progress is not reported."""


def progress_bars(console: Console, auto_refresh: bool = True) -> Bars:
    """Return progress bars with a description, the completed share, and the elapsed and remaining time."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Bars(*columns, console=console, auto_refresh=auto_refresh)
