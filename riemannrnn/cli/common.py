"""What the commands share: the console, progress bars, and how a command refuses."""

import sys
from io import TextIOWrapper
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from riemannrnn.learning.progress import progress_bars as bars_on

for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, TextIOWrapper):  # an encoding that knows no ∇ writes ?, and no result is lost to it
        stream.reconfigure(errors="replace")

console = Console()

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

UNFINISHED = 1
"""Exit status of what was begun and could not be finished."""


def progress_bars() -> Progress:
    """Return the progress bars of a command, on the standard output."""
    return bars_on(console)


def complain(kind: str, sentence: str) -> None:
    """Print an "Error" or a "Warning" as one line of the standard error."""
    Console(stderr=True).print(f"[red]{kind}:[/red] {escape(sentence)}", soft_wrap=True)


def refuse(error: Exception, status: int = 2) -> NoReturn:
    """Print an error as a sentence and leave, with status 2 where nothing was begun."""
    complain("Error", str(error))
    raise typer.Exit(status)
