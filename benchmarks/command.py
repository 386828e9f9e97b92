"""The command `python -m benchmarks`: its options, and functions that its parts share."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.records import Row
from riemannrnn.data import DATA_VARIABLE, Dataset, load_mnist

Integers = Annotated[list[int] | None, typer.Option(help="Repeatable.")]
Numbers = Annotated[list[float] | None, typer.Option(help="Repeatable.")]
Names = Annotated[list[str] | None, typer.Option(help="Repeatable.")]
Data = Annotated[Path | None, typer.Option(envvar=DATA_VARIABLE, help="The folder of MNIST's four IDX files.")]
Output = Annotated[Path, typer.Option(help="Where the JSON files are.")]

app = typer.Typer(pretty_exceptions_enable=False)
console = Console(width=130)


def mnist(folder: Path | None, stimuli: int | None = None) -> tuple[Dataset, Dataset] | None:
    """Return MNIST, or this many of its training stimuli; print a message if no folder is given."""
    if folder is None:
        console.print(f"Skipped: it needs MNIST; name its folder with --data or {DATA_VARIABLE}.")
        return None
    training_set, test = load_mnist(folder)
    return training_set if stimuli is None else training_set.split(stimuli, seed=0)[0], test


def show(row: Row) -> None:
    """Print a row."""
    table = Table(show_header=True, box=None)
    for key in row:
        table.add_column(key, justify="right")
    table.add_row(*map(shown, row.values()))
    console.print(table)


def shown(value: object) -> str:
    """Return a value in the form in which it is printed: short numbers, and lists of numbers without brackets."""
    if isinstance(value, list):
        return " ".join(map(shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
