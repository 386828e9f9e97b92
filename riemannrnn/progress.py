"""Progress of long computations: the type of the function that is told of it, and bars that show it."""

from collections.abc import Callable
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

Progress: TypeAlias = Callable[[float], None]
"""Called with the share that is done, from 0 to 1."""


def ignore(share: float) -> None:
    """Report progress to nobody."""


def progress_bars(console: Console, auto_refresh: bool = True) -> Bars:
    """Return progress bars with a description, the share done, and the time gone and left."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Bars(*columns, console=console, auto_refresh=auto_refresh)
