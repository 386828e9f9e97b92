"""What the commands share: the console, progress bars, and how a command refuses."""

import sys
from io import TextIOWrapper
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, TextIOWrapper):  # an encoding that knows no ∇ writes ?, and no result is lost to it
        stream.reconfigure(errors="replace")

console = Console()

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

UNFINISHED = 1
"""Exit status of what was begun and could not be finished."""


def progress_bars() -> Progress:
    """Return progress bars with a description, the share done, and the time gone and left."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=console)


def complain(kind: str, sentence: str) -> None:
    """Print an "Error" or a "Warning" as one line of the standard error."""
    Console(stderr=True).print(f"[red]{kind}:[/red] {escape(sentence)}", soft_wrap=True)


def refuse(error: Exception, status: int = 2) -> NoReturn:
    """Print an error as a sentence and leave, with status 2 where nothing was begun."""
    complain("Error", str(error))
    raise typer.Exit(status)
