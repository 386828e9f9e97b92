"""Shared parts of the commands: the console, progress bars, and errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bars

from riemannrnn.progress import Progress
from riemannrnn.progress import progress_bars as bars_on
from riemannrnn.run_folder import RunFolderError

console = Console()

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells."""

UNFINISHED = 1
"""Exit status of a command that started and could not finish."""


def progress_bars() -> Bars:
    """Return the progress bars of a command, on the standard output."""
    return bars_on(console)


@contextmanager
def progress_bar(name: str) -> Iterator[Progress]:
    """Show one progress bar; yield the function that updates it."""
    with progress_bars() as bars:
        bar = bars.add_task(escape(name), total=1.0)
        yield lambda share: bars.update(bar, completed=share)


def complain(kind: str, sentence: str) -> None:
    """Print an "Error" or a "Warning" as one line of the standard error."""
    Console(stderr=True).print(f"[red]{kind}:[/red] {escape(sentence)}", soft_wrap=True)


def print_written(folder: Path, files: Sequence[str] = ()) -> None:
    """Print the folder of the results, and its files except config.toml.

    Raises
    ------
    RunFolderError
        If one of the files is no longer there.
    """
    files = ["config.toml", *files]
    missing = [name for name in files if not (folder / name).exists()]
    if missing:
        raise RunFolderError(
            f"{folder} does not hold {', '.join(missing)}: the folder or a file in it was deleted or moved before the end; "
            "run the command again and leave its folder in place"
        )
    console.print(f"Written to {escape(str(folder))}: {', '.join(files)}", soft_wrap=True)


def refuse(error: Exception, status: int = 2) -> NoReturn:
    """Print an error as a sentence and exit, with status 2 if nothing was started."""
    complain("Error", str(error))
    raise typer.Exit(status)
